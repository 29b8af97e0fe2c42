// Putting pictures into a collection from the page: files of this machine, or a folder of the service's.

import * as api from "./api.js";
import { find, make } from "./dom.js";
import { pieces, t } from "./language.js";
import { timeLeft } from "./words.js";

const AT_ONCE = 3; // files that are sent side by side
const PICTURES = /\.(png|jpe?g|webp|gif|bmp|tiff?|heic|heif|avif|jxl|dng)$/i;

// Opens the dialog. `collection` is the one to add to, or null where its name is still to be said; `onAdded(name)` is
// told whenever pictures have been added.
export function openAddPictures({ collection, onAdded }) {
  const adding = new Adding(find("adding"), collection, onAdded);
  adding.show();
}

class Adding {
  constructor(dialog, collection, onAdded) {
    Object.assign(this, { dialog, collection, onAdded, stop: new AbortController() });
  }

  show() {
    this.name = make("input", { id: "adding-name", value: this.collection ?? "photos", required: true, pattern: "[A-Za-z0-9_][A-Za-z0-9._\\-]*", maxlength: 100 });
    this.files = this.picker({ multiple: true, accept: "image/*,.heic,.heif,.avif" });
    this.folder = this.picker({ webkitdirectory: true, multiple: true });
    this.progress = make("div", { class: "progress", role: "status" });
    this.failures = make("ul", { class: "failures", "aria-label": t("add.failures") });
    this.places = make("div", { class: "places" });
    const close = make("button", { type: "button", onclick: () => this.dialog.close() }, t("add.close"));
    this.dialog.replaceChildren(
      make("h2", { id: "adding-title" }, this.collection ? t("add.title", { collection: this.collection }) : t("add.first")),
      this.collection ? "" : make("label", { class: "field" }, t("add.name"), this.name),
      this.area(),
      make("h3", {}, t("add.places")),
      this.places,
      this.progress,
      this.failures,
      make("div", { class: "row" }, close),
    );
    this.dialog.onclose = () => this.stop.abort(); // what was begun on the service goes on there
    this.dialog.showModal();
    this.browse(null);
  }

  picker(attributes) {
    const input = make("input", { type: "file", hidden: true, ...attributes, onchange: () => this.send([...input.files]) });
    return input;
  }

  area() {
    const button = (text, input) => make("button", { type: "button", onclick: () => input.click() }, text);
    const area = make(
      "div",
      { class: "area", id: "adding-area" },
      make("p", {}, t("add.drop")),
      make("div", { class: "row" }, button(t("add.files"), this.files), button(t("add.folder"), this.folder)),
      this.files,
      this.folder,
    );
    area.addEventListener("dragover", (event) => event.preventDefault());
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation(); // else the page would look for it
      this.send([...event.dataTransfer.files]);
    });
    return area;
  }

  // ---- files ----

  async send(files) {
    const pictures = files.filter((file) => file.type.startsWith("image/") || PICTURES.test(file.name));
    const count = { done: 0, failed: 0, all: pictures.length };
    this.failures.replaceChildren();
    if (!pictures.length) return this.say(t("add.no-picture"));
    const name = await this.target();
    if (!name) return;
    const waiting = [...pictures];
    const work = async () => {
      while (waiting.length && !this.stop.signal.aborted) await this.put(name, waiting.shift(), count);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (count.done) this.onAdded(name);
    this.say(outcome(count.done, 0, count.failed), 1);
  }

  async put(name, file, count) {
    try {
      await api.putPicture(name, file.webkitRelativePath || file.name, file);
      count.done += 1;
    } catch (problem) {
      count.failed += 1;
      this.showFailure(file.name, problem.message);
    }
    this.say(t("add.sent", { done: count.done + count.failed, all: count.all }), (count.done + count.failed) / count.all);
  }

  // The collection to add to, made if it is not there; null if it cannot be.
  async target() {
    if (this.collection) return this.collection;
    if (!this.name.reportValidity()) return null;
    const name = this.name.value.trim();
    try {
      await api.createCollection(name);
    } catch (problem) {
      if (!problem.type?.endsWith("collection-exists")) return this.say(problem.message), null;
    }
    this.collection = name;
    this.name.disabled = true;
    return name;
  }

  // ---- folders of the service ----

  async browse(path) {
    this.path = path;
    try {
      const folders = await api.folders(path);
      if (path === this.path) this.showFolders(path, folders); // else another one was opened meanwhile
    } catch (problem) {
      if (path === this.path) this.places.replaceChildren(make("p", { class: "note" }, problem.message));
    }
  }

  showFolders(path, folders) {
    if (path === null) this.roots = folders;
    if (!this.roots.length) return this.places.replaceChildren(noRoots());
    const step = (to, text) => make("button", { type: "button", class: "folder", onclick: () => this.browse(to) }, text);
    const up = path === null ? "" : step(this.roots.includes(path) ? null : path.slice(0, path.lastIndexOf("/")), t("add.back"));
    const index = make("button", { type: "button", class: "primary", id: "index-folder", onclick: () => this.index(path) }, t("add.index"));
    this.places.replaceChildren(
      make("p", { class: "path" }, up, make("code", {}, path ?? t("add.roots"))),
      make("div", { class: "folders" }, ...folders.map((folder) => step(folder, path === null ? folder : folder.slice(folder.lastIndexOf("/") + 1)))),
      path === null ? "" : make("div", { class: "row" }, index),
    );
  }

  async index(path) {
    const name = await this.target();
    if (!name) return;
    this.failures.replaceChildren();
    try {
      const job = await api.startJob(name, path);
      this.say(t("add.looking"));
      const last = await api.watchJob(job.id, (event) => this.showJob(event), this.stop.signal);
      await this.end(name, last ?? { job });
    } catch (problem) {
      if (problem.name !== "AbortError") this.say(problem.message);
    }
  }

  showJob({ job, done, seconds_left: left }) {
    if (job.state === "scanning") return this.say(t("add.found", { count: job.open }));
    this.say(t("add.done", { done, all: done + job.open, left: timeLeft(left) }), done / (done + job.open || 1));
  }

  async end(name, { job }) {
    this.say(job.error ?? (job.state === "cancelled" ? t("add.stopped") : outcome(job.indexed, job.unchanged, job.quarantined)), 1);
    if (job.quarantined) for (const failure of await api.failures(job.id)) this.showFailure(failure.input, failure.reason);
    this.onAdded(name);
  }

  // ---- saying ----

  say(text, share) {
    const bar = share === undefined ? "" : make("progress", { value: share, max: 1, "aria-label": t("add.progress") });
    this.progress.replaceChildren(make("span", {}, text), bar);
  }

  showFailure(input, reason) {
    this.failures.append(make("li", {}, make("strong", {}, input), ` ${reason}`));
  }
}

// How many pictures were added, were there already, and were set aside; the list of these follows.
function outcome(added, unchanged, aside) {
  const counts = [["add.added", added], ["add.unchanged", unchanged], ["add.set-aside", aside]];
  const said = counts.filter(([key, count]) => count || key === "add.added").map(([key, count]) => t(key, { count }));
  return t(aside ? "add.ended-aside" : "add.ended", { counts: said.join(t("list.separator")) });
}

function noRoots() {
  const command = (text) => make("code", {}, text);
  const values = { serve: command("ANYSEEK_ROOTS=/your/pictures anyseek serve"), index: command("anyseek index FOLDER") };
  return make("p", { class: "note" }, ...pieces("add.no-roots", values));
}
