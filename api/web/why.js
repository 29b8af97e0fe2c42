// Why an item was found, or was not: what each part of the query says of it, the words in common, and what the model
// predicts of both.

import * as api from "./api.js";
import { make } from "./dom.js";
import { kind } from "./kinds.js";
import { number, percent, t } from "./language.js";
import { swatch } from "./palette.js";
import { fieldName, manner } from "./words.js";

const TARGETS = ["caption", "color_palette", "depth", "normal", "semseg"];

// A folded panel that requests the explanation when it is opened. `source` are the answers whose query it is, `hit` the item in full.
export function why(source, hit) {
  const content = make("div", { class: "why-content", role: "status" });
  const summary = make("summary", {}, t(hit.score === undefined ? "why.not" : "why.this"));
  const panel = make("details", { id: "why" }, summary, content);
  panel.addEventListener("toggle", () => panel.open && !content.hasChildNodes() && fill(content, source, hit));
  return panel;
}

async function fill(content, source, hit) {
  content.replaceChildren(t("why.asking"));
  try {
    const explanation = await source.why(hit.key);
    const { parts, rank, depth, names } = explanation;
    const place = make("p", {}, rank === null ? t("why.no-rank", { depth }) : t("why.rank", { rank }));
    const largest = Math.max(...parts.map((part) => Math.abs(worth(part))), 1e-6);
    if (names.length) place.append(" ", t("why.item-names", { names: names.join(", ") }));
    content.replaceChildren(place, ...parts.map((part) => partOf(part, largest, explanation)), comparing(source, hit));
  } catch (problem) {
    content.replaceChildren(problem.message);
  }
}

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
    part.names.length ? make("p", { class: "seen" }, t("why.shared-names", { names: part.names.join(", ") })) : null,
    part.codes ? make("p", {}, sentenceOfCodes(part.codes)) : null,
    part.words.length ? make("p", { class: "shared" }, t("why.shared-words"), ...part.words.map(wordOf)) : null,
  );
}

function nameOf(part) {
  const name = part.item !== null ? t("why.like", { item: part.item }) : part.text !== null ? t("why.text", { text: part.text }) : part.modality ? kind(part.modality).name : t("why.vector");
  return part.weight < 0 ? t("why.away", { part: name }) : name;
}

function* sentences(part, depth) {
  if (part.similarity !== null) yield t("why.likeness", { likeness: number(part.similarity, 2), manner: manner(part.space) });
  if (part.rank !== null) yield t("why.part-rank", { rank: part.rank });
  else yield part.similarity === null ? t("why.no-words") : t("why.part-no-rank", { depth });
  if (part.contribution === null) return;
  const values = { depth, rank: part.rank_without, points: number(Math.abs(part.contribution), 2) };
  const [adds, takes] = part.rank_without === null ? ["why.beyond-adds", "why.beyond-takes"] : ["why.without-adds", "why.without-takes"];
  yield t(part.contribution < 0 ? takes : adds, values);
}

function sentenceOfCodes({ agree, of, count, choices, likelier }) {
  const shared = t("why.codes", { agree: agree.length, of });
  if (choices === null) return shared;
  return [shared, t("why.choices", { likelier: number(likelier, 1), choices: Math.round(choices), count })].join(" ");
}

const wordOf = ({ word, fields }) => make("span", { class: "shared-word", title: fields.map(fieldName).join(", ") }, word);

// ---- what the model predicts of the query and of the item ----

function comparing(source, hit) {
  const part = source.parts.find((one) => (one.weight ?? 1) > 0);
  if (!part || part.modality === "words" || !hit.assets.includes("rgb")) return null;
  const place = make("div", { class: "compared" });
  const button = make("button", { type: "button", id: "compare", onclick: () => compare(button, place, source, part, hit) }, t("why.compare"));
  return make("div", {}, button, place);
}

async function compare(button, place, source, part, hit) {
  button.disabled = true;
  place.replaceChildren(t("why.predicting"));
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
  return make("table", {}, make("tr", {}, make("td"), make("th", {}, t("why.query")), make("th", {}, t("why.item"))), ...targets.map(row));
}

function look({ modality, value, files, confidence }) {
  if (modality === "color_palette" && Array.isArray(value)) return make("span", { class: "stripes" }, ...value.map((colour) => swatch(colour, colour)));
  if (typeof value === "string") return confidence == null ? value : t("item.sure", { value, share: percent(confidence) });
  const shown = files.find((file) => file.name.endsWith(".preview.png")) ?? files.find((file) => file.media_type === "image/png");
  return shown ? make("img", { src: `data:image/png;base64,${shown.data}`, alt: t("why.predicted", { kind: kind(modality).name }) }) : "—";
}
