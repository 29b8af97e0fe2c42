// The page: ties what is looked for (query.js) to what was found (results.js).

import * as api from "./api.js";
import { renderChips } from "./chips.js";
import { showDetails } from "./details.js";
import { find, make } from "./dom.js";
import { Drawing } from "./drawing.js";
import { takeFiles } from "./dropping.js";
import { askForKey, hideMessages, showEmpty, showError, showState } from "./messages.js";
import { Palette } from "./palette.js";
import { partOfFile } from "./parts.js";
import { Query } from "./query.js";
import { renderResults } from "./results.js";

const PAGE = 24;
const MOST = 10_000;

const NO_MODEL = { name: "the model", modalities: [] };

const state = { collections: [], collection: null, model: NO_MODEL, ready: false, k: PAGE, request: null, timer: null };
const query = new Query(queryChanged);
const drawing = new Drawing(find("canvas"), find("pen"), find("undo"), find("wipe"), drawingChanged);
const palette = new Palette(find("presets"), find("chosen"), find("colour"), find("add-colour"), paletteChanged);

// ---- the query changes ----

function queryChanged() {
  if (find("words").value.trim() !== query.words.text.trim()) find("words").value = query.words.text;
  showChips();
  searchSoon();
}

function drawingChanged() {
  const url = drawing.isEmpty ? null : drawing.url();
  query.replace("drawing", url && { kind: "canny_edge", url, data: url.slice(url.indexOf(",") + 1) });
}

function paletteChanged() {
  query.replace("palette", palette.isEmpty ? null : { kind: "color_palette", colours: [...palette.colours] });
}

async function addFiles(files) {
  for (const file of files) {
    try {
      query.add(await partOfFile(file, state.model));
    } catch (problem) {
      showProblem(problem);
    }
  }
}

function removePart(part) {
  if (part.role === "drawing") drawing.clear();
  if (part.role === "palette") palette.clear();
  query.remove(part);
}

function clearAll() {
  query.clear();
  drawing.clear();
  palette.clear();
  closePanels();
}

function searchWith(part) {
  clearAll();
  query.add(part);
  window.scrollTo({ top: 0, behavior: "smooth" });
}

const moreLike = (hit) => searchWith({ kind: "item", key: hit.key, caption: hit.caption });

// ---- searching ----

function searchSoon() {
  state.k = PAGE;
  clearTimeout(state.timer);
  state.timer = setTimeout(search, 200);
}

async function search() {
  clearTimeout(state.timer);
  state.request?.abort();
  if (!state.ready || !state.collection) return;
  const request = (state.request = new AbortController());
  document.body.classList.add("searching");
  rememberInAddress();
  try {
    await (query.all().length ? showAnswer(request.signal) : showPeek(request.signal));
  } catch (problem) {
    if (problem.name !== "AbortError") showProblem(problem);
  } finally {
    if (request === state.request) document.body.classList.remove("searching");
  }
}

async function showAnswer(signal) {
  const started = performance.now();
  const { hits, space } = await api.query(state.collection, await query.toJson(), state.k, signal);
  if (signal.aborted) return;
  const time = Math.round(performance.now() - started);
  showHits(hits, `${hits.length} ${hits.length === 1 ? "result" : "results"} by ${space} in ${time} ms`);
  find("more").hidden = hits.length < state.k || state.k >= MOST;
}

async function showPeek(signal) {
  find("more").hidden = true;
  const hits = await api.peek(state.collection, PAGE, signal);
  if (signal.aborted) return;
  if (!hits.length) return showEmpty(`The collection ${state.collection} is empty`, state.collection);
  showHits(hits, `A look into ${state.collection}`);
}

// ---- showing ----

function showHits(hits, summary) {
  const { collection, model } = state;
  hideMessages();
  find("summary").textContent = summary;
  const given = { collection, model, onMore: moreLike, onUse: searchWith };
  const onOpen = (hit) => showDetails(find("details"), hit, given);
  renderResults(find("results"), hits, collection, { onMore: moreLike, onOpen });
}

function showProblem(problem) {
  if (problem.status === 401) return askForKey(useKey);
  showError(problem.message);
}

function useKey(key) {
  api.keys.set(key);
  start();
}

// The words have a chip, for their weight, once there is something to weigh them against.
function showChips() {
  const parts = query.parts.length && query.words.text.trim() ? [query.words, ...query.parts] : query.parts;
  const { collection, model } = state;
  const told = { onKind: queryChanged, onChange: searchSoon, onRemove: removePart };
  renderChips(find("chips"), parts, { collection, modalities: model.modalities, ...told });
  find("clear-all").hidden = !query.all().length;
}

function showCollections(wanted) {
  const names = state.collections.map((one) => one.name);
  if (!names.length) return showEmpty("There is nothing to search yet", "photos");
  find("collection").replaceChildren(...names.map((name) => make("option", { value: name }, name)));
  find("collection").disabled = names.length === 1;
  find("chooser").hidden = false;
  showCollection(names.includes(wanted) ? wanted : names[0]);
}

function showCollection(name) {
  const { items } = state.collections.find((one) => one.name === name);
  state.collection = find("collection").value = name;
  find("count").textContent = `${items.toLocaleString("en")} ${items === 1 ? "item" : "items"}`;
}

// Only what the loaded model takes is offered.
function showTools() {
  const { modalities } = state.model;
  find("open-drawing").hidden = !modalities.includes("canny_edge");
  find("open-palette").hidden = !modalities.includes("color_palette");
  showChips();
}

function rememberInAddress() {
  const address = new URLSearchParams({ c: state.collection });
  if (query.words.text.trim()) address.set("q", query.words.text.trim());
  history.replaceState(null, "", `#${address}`);
}

// ---- starting ----

async function start() {
  try {
    state.collections = await api.collections();
    const address = new URLSearchParams(location.hash.slice(1));
    showCollections(address.get("c"));
    query.words.text ||= address.get("q") ?? "";
    await untilReady();
    [state.model] = await api.models();
    state.ready = true;
    showState("ready", state.model.name);
    showTools();
    queryChanged();
  } catch (problem) {
    showState("failed", "not ready");
    showProblem(problem);
  }
}

async function untilReady() {
  while ((await api.readiness()) === "loading") {
    showState("loading", "loading the model");
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

// ---- controls ----

function togglePanel(panel) {
  const opens = find(panel).hidden;
  closePanels();
  find(panel).hidden = !opens;
  find(`open-${panel}`).setAttribute("aria-expanded", opens);
}

function closePanels() {
  for (const panel of ["drawing", "palette"]) {
    find(panel).hidden = true;
    find(`open-${panel}`).setAttribute("aria-expanded", false);
  }
}

find("form").onsubmit = (event) => {
  event.preventDefault();
  state.k = PAGE;
  search();
};
find("words").oninput = (event) => {
  query.words.text = event.target.value;
  showChips();
  if (!event.target.value) searchSoon();
};
find("collection").onchange = (event) => {
  query.parts = query.parts.filter((part) => part.kind !== "item"); // a key is one of the other collection
  showCollection(event.target.value);
  queryChanged();
};
find("pick-file").onclick = () => find("file").click();
find("file").onchange = (event) => {
  addFiles([...event.target.files]);
  event.target.value = "";
};
find("open-drawing").onclick = () => togglePanel("drawing");
find("open-palette").onclick = () => togglePanel("palette");
find("add-words").onclick = () => {
  const text = query.words.text.trim();
  query.words.text = "";
  find("words").focus();
  if (text) query.add({ kind: "caption", text });
};
find("clear-all").onclick = () => {
  clearAll();
  queryChanged();
};
find("more").onclick = () => {
  state.k = Math.min(state.k * 2, MOST);
  search();
};
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, select, dialog")) {
    event.preventDefault();
    find("words").focus();
  }
  if (event.key === "Escape" && !find("details").open) closePanels();
});
takeFiles(find("dropzone"), addFiles);

start();
