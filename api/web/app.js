// The page: connects the query (composer.js) with the results (grid.js), and both with the address (address.js).

import { readAddress, writeAddress } from "./address.js";
import * as api from "./api.js";
import { Collections } from "./collections.js";
import { Composer } from "./composer.js";
import { find } from "./dom.js";
import { takeFiles } from "./file-drop.js";
import { Filtering } from "./filtering.js";
import { renderFolders } from "./folders.js";
import { Grid } from "./grid.js";
import { watchHealth } from "./health.js";
import { t, translate } from "./language.js";
import { Lightbox } from "./lightbox.js";
import { asHit } from "./links.js";
import { askForKey, hideMessages, showError, showState } from "./messages.js";
import { wirePanels } from "./panels.js";
import { partOfFile } from "./parts.js";
import { Answers, Listing, whenNear } from "./sources.js";
import * as states from "./states.js";
import { isRated, SURENESS, surenessText } from "./words.js";

translate();

const NO_MODEL = { name: t("model.none"), modalities: [] };
const PAUSE = 120; // milliseconds after a change, in which another may follow
const AHEAD = 12; // items before the end, from which on a step asks for more

const state = {
  collection: null, model: NO_MODEL, ready: false, sort: "key", folder: null, item: null, sure: 0,
  source: null, request: null, timer: null, address: null, change: null, shownView: null, lost: 0,
  starts: 0, turn: 0, // count what was begun: what comes after a later start or turn is dropped
  savedChanges: 0, // the changes of the composer that are in the address
};
const collections = new Collections();
const composer = new Composer(changed);
const filtering = new Filtering(() => settle("parts"), showProblem);
const grid = new Grid(find("results"), { onOpen: (hit) => openItem(hit.key, true), onMore: moreLike, onLess: lessLike });
const lightbox = new Lightbox(find("details"), { onStep: step, onClose: itemClosed, onMore: moreLike, onLess: lessLike, onUse: searchWith });

// ---- what is looked for changes ----

function changed(what) {
  clearTimeout(state.timer);
  document.body.classList.add("searching");
  state.timer = setTimeout(() => settle(what), PAUSE);
}

async function addFiles(files) {
  for (const file of files) {
    try {
      composer.add(await partOfFile(file, state.model));
    } catch (problem) {
      showProblem(problem);
    }
  }
}

function searchWith(part) {
  composer.clear();
  leaveItem();
  composer.add(part);
  window.scrollTo({ top: 0 });
}

const likeOf = (hit) => ({ kind: "item", key: hit.key, caption: hit.caption ?? undefined });

function moreLike(hit) {
  searchWith(likeOf(hit));
  find("words").focus({ preventScroll: true }); // "like this, but …"
}

function lessLike(hit) {
  leaveItem();
  composer.add({ ...likeOf(hit), weight: -0.5 });
}

// ---- the address ----

async function address() {
  const { collection, sort, folder, item, sure } = state;
  const { where, filters } = filtering;
  return writeAddress({ collection, where, filters, sort, folder, item, sure, ...(await composer.toAddress()) });
}

// Writes the query into the address and runs it. Several strokes of one drawing, or moves of one slider,
// are one step of Back.
async function settle(what) {
  clearTimeout(state.timer);
  if (!state.collection) return document.body.classList.remove("searching");
  const turn = (state.turn += 1);
  document.body.classList.add("searching");
  state.savedChanges = composer.changes;
  const written = await address();
  if (turn !== state.turn) return;
  if (written !== state.address) {
    const goesOn = what !== "parts" && what === state.change;
    history[goesOn ? "replaceState" : "pushState"](null, "", written);
    state.address = written;
  }
  state.change = what;
  state.shownView = viewOf(await readAddress(written));
  await search();
}

// Brings back what an address says: at the start, after Back, or when somebody writes another one. `savedChanges` are the
// composer's changes that it may undo; what somebody typed or drew after them stays, and is looked for.
async function follow(savedChanges = composer.changes) {
  if (location.hash === state.address) return;
  clearTimeout(state.timer);
  const turn = (state.turn += 1);
  const isStale = () => turn !== state.turn;
  const given = await readAddress(location.hash);
  const name = given.collection ?? collections.first();
  await collections.ensureKnown(name);
  if (isStale()) return;
  const { sort, folder, item, sure } = given;
  Object.assign(state, { address: location.hash, change: null, sort, folder, item, sure });
  filtering.restore(given);
  if (!chooseCollection(name)) return showUnknown(name);
  if (viewOf(given) !== state.shownView) {
    const lost = await composer.restore(given, () => isStale() || composer.changes !== savedChanges);
    if (isStale()) return;
    if (composer.changes !== savedChanges) return settle("parts");
    Object.assign(state, { lost, savedChanges });
    await search();
  }
  state.shownView = viewOf(given);
  await showItem();
}

// What an address shows behind an open item: the same grid stays as it is when an item is closed.
const viewOf = (given) => JSON.stringify({ ...given, item: null });

// ---- searching ----

async function search() {
  state.request?.abort();
  if (!state.ready || !state.collection) return document.body.classList.remove("searching");
  const request = (state.request = new AbortController());
  document.body.classList.add("searching");
  filtering.show();
  find("sort").value = state.sort;
  showSureness(state.sure);
  try {
    const { collection, folder, sort, sure } = state;
    const isQuery = !composer.isEmpty;
    const where = filtering.text();
    const source = isQuery ? new Answers(collection, await composer.toJson(), { where: filtering.text(folder), least: sure }) : new Listing(collection, sort, where, folder);
    const started = performance.now();
    const folders = isQuery || folder === null ? [] : api.foldersOf(collection, folder, request.signal);
    const [hits, inside] = await Promise.all([source.next(request.signal), folders]);
    if (request.signal.aborted) return;
    state.source = source;
    show({ hits, inside, source }, { isQuery, where, folder, collection }, Math.round(performance.now() - started));
  } catch (problem) {
    if (problem.name !== "AbortError") showProblem(problem);
  } finally {
    if (request === state.request) document.body.classList.remove("searching");
  }
}

function show(found, request, milliseconds) {
  const { hits, inside, source } = found;
  const { isQuery, collection, folder } = request;
  hideMessages();
  document.body.classList.toggle("asking", isQuery);
  find("how-sure").hidden = !isQuery || !(hits.length ? isRated(hits[0]) : state.sure > 0);
  renderFolders({ collection, folder, inside, address: state.address });
  grid.begin(collection, { months: !isQuery && state.sort !== "key", space: source.space, refine: isQuery });
  grid.append(hits);
  if (isQuery) composer.showInterpretations(source.understood);
  if (!hits.length && !inside.length) return showNothing(request);
  find("summary").textContent = states.summary(found, request, milliseconds);
  if (state.lost) showError(t("search.lost"));
  state.lost = 0;
  fillUp();
}

// Further hits while the end of the page is near.
async function fillUp() {
  const { source, request } = state;
  if (!source || source.done || source.busy) return;
  if (find("end").getBoundingClientRect().top > 2 * innerHeight + 600 && !find("details").open) return;
  source.busy = true;
  try {
    const hits = await source.next(request.signal);
    if (source !== state.source) return;
    grid.append(hits);
    setTimeout(fillUp, 50); // when the pictures' shapes are known
  } catch (problem) {
    if (problem.name !== "AbortError") showProblem(problem);
  } finally {
    source.busy = false;
  }
}

// ---- an item in full ----

async function openItem(key, pushes) {
  state.item = key;
  const written = await address();
  if (state.item !== key) return; // closed, or another one was opened meanwhile
  history[pushes ? "pushState" : "replaceState"]({ opened: pushes || history.state?.opened }, "", written);
  state.address = written;
  await showItem();
}

async function showItem() {
  const { item: key, collection } = state;
  if (!key) return leaveItem();
  const place = grid.hits.findIndex((hit) => hit.key === key);
  try {
    const hit = grid.hits[place] ?? asHit(await api.item(collection, key));
    if (key !== state.item || collection !== state.collection) return;
    const after = place >= 0 && place < grid.hits.length - 1;
    lightbox.show(hit, { collection, model: state.model, space: grid.space, before: place > 0, after, source: state.source });
    if (place > grid.hits.length - AHEAD) fillUp();
  } catch (problem) {
    if (key !== state.item) return;
    leaveItem();
    showProblem(problem);
  }
}

function step(by) {
  const place = grid.hits.findIndex((hit) => hit.key === state.item);
  const hit = grid.hits[place + by];
  if (hit) openItem(hit.key, false);
}

// It was closed by hand: as if it had not been opened.
async function itemClosed() {
  if (!state.item) return;
  const key = state.item;
  state.item = null;
  if (history.state?.opened) history.back();
  else {
    const written = await address();
    if (state.item) return; // another one was opened meanwhile
    state.address = written;
    history.replaceState(null, "", written);
  }
  document.querySelector(`.card[data-key="${CSS.escape(key)}"] .picture`)?.focus();
}

// Something else follows, so its address stays in the history.
function leaveItem() {
  state.item = null;
  lightbox.leave();
}

// ---- showing ----

function showProblem(problem) {
  if (problem.status === 401) return askForKey(api.keys.get() && sentence(problem.message), useKey);
  if (problem.type !== "unreachable") showError(problem.message); // `watchHealth` reports that one
}

function beSure(least) {
  state.sure = least;
  showSureness(least);
  changed("sureness");
}

function showSureness(least) {
  find("sureness").value = SURENESS.findLastIndex((share) => share <= least);
  find("sureness-text").textContent = surenessText(least);
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

function useKey(key) {
  api.keys.set(key);
  start();
}

function showNothing({ isQuery, where, folder, collection }) {
  if (isQuery && state.sure > 0) return states.showNoneSure(() => beSure(0));
  if (where) return states.showNonePasses(isQuery, () => filtering.clear());
  if (folder) return states.showEmptyFolder(isQuery);
  states.showEmptyCollection(collection, addPictures);
}

function showUnknown(name) {
  state.collection = null;
  leaveItem();
  renderFolders({ collection: name, folder: null, inside: [], address: state.address });
  document.body.classList.remove("searching");
  states.showUnknown(name, collections.names, addPictures);
}

// ---- collections ----

// Returns whether the collection exists.
function chooseCollection(name) {
  state.collection = collections.choose(name) ? name : null;
  composer.use(state.collection, state.model);
  filtering.use(state.collection);
  if (!state.collection) return false;
  if (!find("painting").hidden) composer.painting.offer(name);
  return true;
}

async function addPictures() {
  const { openAddPictures } = await import("./add-pictures.js");
  openAddPictures({ collection: state.collection, onAdded: showAdded });
}

async function showAdded(name) {
  await collections.refresh();
  if (name !== state.collection) location.hash = `#c=${encodeURIComponent(name)}`;
  else {
    chooseCollection(name);
    await search();
  }
}

// ---- starting ----

async function start() {
  const begun = (state.starts += 1);
  try {
    await collections.refresh();
    await untilReady();
    const [model] = await api.models();
    if (begun !== state.starts) return; // started again meanwhile
    state.model = model;
    state.ready = true;
    showState("ready", t("state.ready"), t("state.model", { model: state.model.name }));
    showTools();
    Object.assign(state, { address: null, shownView: null });
    await follow(state.savedChanges);
  } catch (problem) {
    showState("failed", t(problem.status === 401 ? "state.key" : problem.status ? "state.not-ready" : "state.gone"));
    showProblem(problem);
  }
}

async function untilReady() {
  while ((await api.readiness()) === "loading") {
    showState("loading", t("state.loading"));
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

// Only what the loaded model takes is offered.
function showTools() {
  const { modalities } = state.model;
  find("open-drawing").hidden = !modalities.includes("canny_edge");
  find("open-palette").hidden = !modalities.includes("color_palette");
  find("open-painting").hidden = !modalities.includes("semseg");
}

// ---- controls ----

find("form").onsubmit = (event) => {
  event.preventDefault();
  settle("parts");
};
find("collection").onchange = (event) => {
  composer.leaveItems();
  filtering.restore({ filters: [], where: "" });
  state.folder = null;
  chooseCollection(event.target.value);
  settle("parts");
};
find("sort").onchange = (event) => {
  state.sort = event.target.value;
  settle("parts");
};
find("sureness").oninput = (event) => beSure(SURENESS[event.target.value]);
find("pick-file").onclick = () => find("file").click();
find("file").onchange = (event) => {
  addFiles([...event.target.files]);
  event.target.value = "";
};
find("add-pictures").onclick = addPictures;
find("clear-all").onclick = () => {
  composer.clear();
  composer.changed("parts");
};
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, select, dialog")) {
    event.preventDefault();
    find("words").focus();
  }
});
wirePanels({ painting: () => state.collection && composer.painting.offer(state.collection), filters: () => filtering.offer() });
takeFiles(find("dropzone"), addFiles);
whenNear(find("end"), fillUp);
window.addEventListener("hashchange", () => follow());
watchHealth({
  onDisconnect() {
    document.body.classList.add("gone");
    showState("failed", t("state.gone"));
    showError(t("state.from-before"));
  },
  onReconnect() {
    document.body.classList.remove("gone");
    hideMessages();
    start();
  },
});

start();
