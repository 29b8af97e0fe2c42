// The page: ties what is looked for (composer.js) to what was found (grid.js), and both to the address (address.js).

import { readAddress, writeAddress } from "./address.js";
import * as api from "./api.js";
import { Collections } from "./collections.js";
import { Composer } from "./composer.js";
import { find, make } from "./dom.js";
import { takeFiles } from "./dropping.js";
import { filterText, renderFacets, renderFilters } from "./filters.js";
import { Grid } from "./grid.js";
import { watchHealth } from "./health.js";
import { Lightbox } from "./lightbox.js";
import { asHit } from "./links.js";
import { askForKey, hideMessages, showEmpty, showError, showState } from "./messages.js";
import { wirePanels } from "./panels.js";
import { partOfFile } from "./parts.js";
import { Answers, Listing, whenNear } from "./sources.js";
import { counted, manner } from "./words.js";

const NO_MODEL = { name: "the model", modalities: [] };
const PAUSE = 120; // milliseconds after a change, in which another may follow
const AHEAD = 12; // items before the end, from which on a step asks for more

const state = {
  collection: null, model: NO_MODEL, ready: false, filters: [], where: "", sort: "key", item: null,
  source: null, request: null, timer: null, address: null, change: null, followed: null, lost: 0,
};
const collections = new Collections();
const composer = new Composer(changed);
const grid = new Grid(find("results"), { onOpen: (hit) => openItem(hit.key, true), onMore: moreLike, onLess: lessLike });
const lightbox = new Lightbox(find("details"), { onStep: step, onClose: itemClosed, onMore: moreLike, onLess: lessLike, onUse: searchWith });

// ---- what is looked for changes ----

function changed(what) {
  clearTimeout(state.timer);
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
  const { collection, where, filters, sort, item } = state;
  return writeAddress({ collection, where, filters, sort, item, ...(await composer.toAddress()) });
}

// Writes what is looked for into the address and looks for it. Several strokes of one drawing, or moves of one slider,
// are one step of Back.
async function settle(what) {
  clearTimeout(state.timer);
  if (!state.collection) return;
  const written = await address();
  if (written !== state.address) {
    const goesOn = what !== "parts" && what === state.change;
    history[goesOn ? "replaceState" : "pushState"](null, "", written);
    state.address = written;
  }
  state.change = what;
  state.followed = viewOf(await readAddress(written));
  await search();
}

// Brings back what an address says: at the start, after Back, or when somebody writes another one.
async function follow() {
  if (location.hash === state.address) return;
  const given = await readAddress(location.hash);
  const name = given.collection ?? collections.first();
  Object.assign(state, { address: location.hash, change: null, item: given.item });
  clearTimeout(state.timer);
  Object.assign(state, { where: given.where, filters: given.filters, sort: given.sort });
  const isKnown = await chooseCollection(name);
  if (!isKnown) return showUnknown(name);
  if (viewOf(given) !== state.followed) {
    state.lost = await composer.restore(given);
    await search();
  }
  state.followed = viewOf(given);
  await showItem();
}

// What an address shows behind an open item: the same grid stays as it is when an item is closed.
const viewOf = (given) => JSON.stringify({ ...given, item: null });

// ---- searching ----

async function search() {
  state.request?.abort();
  if (!state.ready || !state.collection) return;
  const request = (state.request = new AbortController());
  document.body.classList.add("searching");
  showFilters();
  try {
    const where = filterText(state.filters, state.where);
    const asks = !composer.isEmpty;
    const source = asks ? new Answers(state.collection, await composer.toJson(), where) : new Listing(state.collection, state.sort, where);
    const started = performance.now();
    const hits = await source.next(request.signal);
    if (request.signal.aborted) return;
    state.source = source;
    show(hits, asks, where, Math.round(performance.now() - started));
  } catch (problem) {
    if (problem.name !== "AbortError") showProblem(problem);
  } finally {
    if (request === state.request) document.body.classList.remove("searching");
  }
}

function show(hits, asks, where, milliseconds) {
  const { source, sort, collection } = state;
  hideMessages();
  document.body.classList.toggle("asking", asks);
  grid.begin(collection, { months: !asks && sort !== "key", space: source.space, refine: asks });
  grid.append(hits);
  if (!hits.length) return showNothing(asks, where);
  find("summary").textContent = summary(hits.length, asks, where, milliseconds);
  if (state.lost) showError("One of the files of this link was too large for it; drop the file again.");
  state.lost = 0;
  fillUp();
}

function summary(count, asks, where, milliseconds) {
  const { source, collection } = state;
  if (asks) return `${source.done ? counted(count, "result") : "Best first"}, ${manner(source.space)}, in ${milliseconds} ms`;
  if (where) return source.done ? counted(count, "item") : "Filtered";
  return `All of ${collection}`;
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
  history[pushes ? "pushState" : "replaceState"]({ opened: pushes || history.state?.opened }, "", written);
  state.address = written;
  await showItem();
}

async function showItem() {
  if (!state.item) return leaveItem();
  const place = grid.hits.findIndex((hit) => hit.key === state.item);
  try {
    const hit = grid.hits[place] ?? asHit(await api.item(state.collection, state.item));
    const after = place >= 0 && place < grid.hits.length - 1;
    lightbox.show(hit, { collection: state.collection, model: state.model, space: grid.space, before: place > 0, after });
    if (place > grid.hits.length - AHEAD) fillUp();
  } catch (problem) {
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
    state.address = await address();
    history.replaceState(null, "", state.address);
  }
  document.querySelector(`.card[data-key="${CSS.escape(key)}"] .picture`)?.focus();
}

// Something else follows, so its address stays in the history.
function leaveItem() {
  state.item = null;
  if (find("details").open) find("details").close();
}

// ---- showing ----

function showProblem(problem) {
  if (problem.status === 401) return askForKey(api.keys.get() && sentence(problem.message), useKey);
  if (problem.type !== "unreachable") showError(problem.message); // `watchHealth` tells that one
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

function useKey(key) {
  api.keys.set(key);
  start();
}

function showNothing(asks, where) {
  if (!where) return showEmpty(`The collection ${state.collection} is empty`, ...invitation(state.collection));
  const clear = make("button", { type: "button", onclick: clearFilters }, "Remove the filters");
  showEmpty(asks ? "Nothing that passes these filters" : "No item passes these filters", clear);
}

function invitation(collection) {
  const add = make("button", { type: "button", class: "primary", onclick: addPictures }, "Add pictures");
  return [
    make("p", {}, "Drop pictures or choose a folder:"),
    make("p", {}, add),
    make("p", {}, "Or, where the service runs:"),
    make("code", {}, `anyseek index FOLDER --collection ${collection}`),
  ];
}

function showUnknown(name) {
  state.collection = null;
  leaveItem();
  if (!collections.names.length) return showEmpty("There is nothing to search yet", ...invitation("photos"));
  const links = collections.names.map((held) => make("a", { class: "button", href: `#c=${encodeURIComponent(held)}` }, held));
  showEmpty(`There is no collection called ${name}`, make("p", {}, "These are there:"), make("p", { class: "row" }, ...links));
}

// ---- filters ----

function showFilters() {
  renderFilters(find("held-filters"), state.filters, state.where, (filter) => {
    if (filter) state.filters = state.filters.filter((held) => held !== filter);
    else state.where = "";
    filtersChanged();
  });
  find("sort").value = state.sort;
}

function clearFilters() {
  Object.assign(state, { filters: [], where: "" });
  filtersChanged();
}

function filtersChanged() {
  if (!find("filters").hidden) offerFilters();
  settle("parts");
}

async function offerFilters() {
  const { collection } = state;
  if (!collection) return;
  find("where").value = state.where; // before the facets come: what is typed meanwhile stays
  try {
    const facets = await api.facets(collection);
    if (collection !== state.collection) return;
    renderFacets(find("facets"), facets, state.filters, (field, filter) => {
      state.filters = [...state.filters.filter((held) => held.field !== field), ...(filter ? [filter] : [])];
      settle("parts");
    });
  } catch (problem) {
    showProblem(problem);
  }
}

// ---- collections ----

// Whether there is one of that name.
async function chooseCollection(name) {
  state.collection = (await collections.choose(name)) ? name : null;
  composer.use(state.collection, state.model.modalities);
  if (!state.collection) return false;
  if (!find("painting").hidden) composer.painting.offer(name);
  if (!find("filters").hidden) offerFilters();
  return true;
}

async function addPictures() {
  const { openAdding } = await import("./adding.js");
  openAdding({ collection: state.collection, onAdded: showAdded });
}

async function showAdded(name) {
  await collections.refresh();
  if (name !== state.collection) location.hash = `#c=${encodeURIComponent(name)}`;
  else {
    await chooseCollection(name);
    await search();
  }
}

// ---- starting ----

async function start() {
  try {
    await collections.refresh();
    await untilReady();
    [state.model] = await api.models();
    state.ready = true;
    showState("ready", "ready", `The model ${state.model.name} is loaded.`);
    showTools();
    Object.assign(state, { address: null, followed: null });
    await follow();
  } catch (problem) {
    showState("failed", problem.status === 401 ? "needs a key" : problem.status ? "not ready" : "no answer");
    showProblem(problem);
  }
}

async function untilReady() {
  while ((await api.readiness()) === "loading") {
    showState("loading", "loading the model");
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
find("collection").onchange = async (event) => {
  composer.leaveItems();
  Object.assign(state, { filters: [], where: "" });
  await chooseCollection(event.target.value);
  settle("parts");
};
find("sort").onchange = (event) => {
  state.sort = event.target.value;
  settle("parts");
};
find("write-filter").onsubmit = (event) => {
  event.preventDefault();
  state.where = find("where").value.trim();
  settle("parts");
};
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
wirePanels({ painting: () => state.collection && composer.painting.offer(state.collection), filters: offerFilters });
takeFiles(find("dropzone"), addFiles);
whenNear(find("end"), fillUp);
window.addEventListener("hashchange", follow);
watchHealth({
  onGone() {
    document.body.classList.add("gone");
    showState("failed", "no answer");
    showError("The service does not answer. What you see is from before; the page goes on by itself once the service is back.");
  },
  onBack() {
    document.body.classList.remove("gone");
    hideMessages();
    start();
  },
});

start();
