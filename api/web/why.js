// Why an item was found, or was not: what each part of the query says of it, the words in common, and what the model
// predicts of both.

import * as api from "./api.js";
import { make } from "./dom.js";
import { kind } from "./kinds.js";
import { swatch } from "./palette.js";
import { fieldName, manner } from "./words.js";

const TARGETS = ["caption", "color_palette", "depth", "normal", "semseg"];

// A folded panel that requests the explanation when it is opened. `source` are the answers whose query it is, `hit` the item in full.
export function why(source, hit) {
  const content = make("div", { class: "why-content", role: "status" });
  const summary = make("summary", {}, hit.score === undefined ? "Why was this not found?" : "Why this?");
  const panel = make("details", { id: "why" }, summary, content);
  panel.addEventListener("toggle", () => panel.open && !content.hasChildNodes() && fill(content, source, hit));
  return panel;
}

async function fill(content, source, hit) {
  content.replaceChildren("Asking …");
  try {
    const explanation = await source.why(hit.key);
    const { parts, rank, depth, names } = explanation;
    const place = make("p", {}, rank === null ? `It is not among the first ${counted(depth)}.` : `It is at place ${counted(rank)}.`);
    const largest = Math.max(...parts.map((part) => Math.abs(worth(part))), 1e-6);
    if (names.length) place.append(` The model sees in it: ${names.join(", ")}.`);
    content.replaceChildren(place, ...parts.map((part) => partOf(part, largest, explanation)), comparing(source, hit));
  } catch (problem) {
    content.replaceChildren(problem.message);
  }
}

const counted = (number) => number.toLocaleString("en");
const worth = (part) => part.contribution ?? part.similarity ?? 0;

function partOf(part, largest, { depth }) {
  const share = worth(part);
  const bar = make("span", { class: share < 0 ? "share lowers" : "share" });
  bar.style.width = `${Math.max(1, (100 * Math.abs(share)) / (part.contribution === null ? 1 : largest))}%`;
  return make(
    "section",
    { class: "why-part" },
    make("h3", {}, nameOf(part)),
    make("div", { class: "why-bar" }, bar),
    make("p", {}, [...sentences(part, depth)].join(" ")),
    part.names.length ? make("p", { class: "seen" }, `The model sees in both: ${part.names.join(", ")}.`) : null,
    part.codes ? make("p", {}, sentenceOfCodes(part.codes)) : null,
    part.words.length ? make("p", { class: "shared" }, "Both have: ", ...part.words.map(wordOf)) : null,
  );
}

function nameOf(part) {
  const name = part.item !== null ? `Like ${part.item}` : part.text !== null ? `“${part.text}”` : kind(part.modality ?? "vector").name;
  return part.weight < 0 ? `Away from: ${name}` : name;
}

function* sentences(part, depth) {
  if (part.similarity !== null) yield `Likeness ${part.similarity.toFixed(2)} ${manner(part.space)}.`;
  if (part.rank !== null) yield `Alone it puts this at place ${counted(part.rank)}.`;
  else yield part.similarity === null ? "This has none of the words." : `Alone it does not put this among the first ${counted(depth)}.`;
  if (part.contribution === null) return;
  const place = part.rank_without === null ? `beyond the first ${counted(depth)}` : `at place ${counted(part.rank_without)}`;
  const much = Math.abs(part.contribution).toFixed(2);
  yield `Without it this would be ${place}: it ${part.contribution < 0 ? `takes ${much} from` : `adds ${much} to`} the score.`;
}

function sentenceOfCodes({ agree, of, count, choices, likelier }) {
  const shared = `${agree.length} of ${of} codes agree.`;
  if (choices === null) return shared;
  return `${shared} Those of this item are ${likelier.toFixed(1)} times as likely as by chance; the model wavers between ${Math.round(choices)} of ${counted(count)}.`;
}

const wordOf = ({ word, fields }) => make("span", { class: "shared-word", title: fields.map(fieldName).join(", ") }, word);

// ---- what the model predicts of the query and of the item ----

function comparing(source, hit) {
  const part = source.parts.find((one) => (one.weight ?? 1) > 0);
  if (!part || part.modality === "words" || !hit.assets.includes("rgb")) return null;
  const place = make("div", { class: "compared" });
  const button = make("button", { type: "button", id: "compare", onclick: () => compare(button, place, source, part, hit) }, "What the model sees in both");
  return make("div", {}, button, place);
}

async function compare(button, place, source, part, hit) {
  button.disabled = true;
  place.replaceChildren("Predicting …");
  try {
    const input = part.item ? { ...(await pictureOf(source.collection, part.item)), box: part.box } : asUnderstood(source, part);
    const targets = TARGETS.filter((target) => target !== (input.modality ?? "caption"));
    // One after the other: the service predicts one at a time.
    const ofQuery = await api.predict(input, targets);
    const ofHit = await api.predict(await pictureOf(source.collection, hit.key), targets);
    place.replaceChildren(table(targets, ofQuery, ofHit));
  } catch (problem) {
    place.replaceChildren(problem.message);
    button.disabled = false;
  }
}

// A part with the form that its file was taken to have, so that what is predicted is of the same value as the hits.
function asUnderstood({ parts, understood }, part) {
  const place = parts.filter((one) => one.modality !== "words").indexOf(part) + 1;
  const found = part.modality === "rgb" ? undefined : understood.find((one) => one.part === place);
  return { ...part, form: part.form ?? found?.form };
}

const pictureOf = async (collection, key) => ({ modality: "rgb", data: await api.base64(await api.asset(collection, key, "rgb")) });

function table(targets, ofQuery, ofHit) {
  const rates = ofHit.some(({ sure }) => typeof sure === "boolean");
  // Of a model that rates its captions, only those that it is sure of: captions of drawings are not rated.
  const isSaid = ({ modality, sure }) => modality !== "caption" || !rates || sure;
  const row = (target) => {
    const cells = [ofQuery, ofHit].map((found) => found.find((one) => one.modality === target && isSaid(one)));
    return cells.some(Boolean) ? make("tr", {}, make("th", {}, kind(target).name), ...cells.map((one) => make("td", {}, one ? look(one) : "—"))) : null;
  };
  return make("table", {}, make("tr", {}, make("td"), make("th", {}, "Query"), make("th", {}, "This")), ...targets.map(row));
}

function look({ modality, value, files, confidence }) {
  if (modality === "color_palette" && Array.isArray(value)) return make("span", { class: "stripes" }, ...value.map((colour) => swatch(colour, colour)));
  if (typeof value === "string") return confidence == null ? value : `${value} (${Math.round(100 * confidence)}% sure)`;
  const shown = files.find((file) => file.name.endsWith(".preview.png")) ?? files.find((file) => file.media_type === "image/png");
  return shown ? make("img", { src: `data:image/png;base64,${shown.data}`, alt: `the predicted ${kind(modality).name}` }) : "—";
}
