// Parts of a query from what somebody has: a file, or an item of which more is known than its picture.

import * as api from "./api.js";
import { guess } from "./guess.js";
import { inOrder, kind, kindsOf, sortOf } from "./kinds.js";
import { t } from "./language.js";

// A file as a part, taken for what it probably is. Throws a `Problem` where the model takes no such thing.
export async function partOfFile(file, model) {
  const kinds = kindsOf(file, model.modalities);
  const guessed = await guess(file, kinds);
  const found = kinds.includes(guessed) || sortOf(file) !== "image" ? guessed : kinds[0];
  if (!kinds.includes(found)) throw refusal(t("problem.not-taken", { file: file.name, kind: kind(guessed).name, model: model.name }));
  if (found === "caption") return { kind: found, text: await file.text() };
  if (found === "color_palette") return { kind: found, colours: coloursOf(await file.text(), file.name) };
  return { kind: found, file, url: sortOf(file) === "image" ? URL.createObjectURL(file) : null };
}

function coloursOf(text, name) {
  const colours = JSON.parse(text);
  if (colours.every((one) => /^#[0-9a-f]{6}$/i.test(one))) return colours;
  throw refusal(t("problem.no-colours", { file: name, example: '["#c03020", "#ffffff"]' }));
}

const refusal = (sentence) => new api.Problem(0, "file", sentence);

// What is known of an item besides its picture: modalities that are files, and the colours among its attributes.
export function viewsOf(item) {
  const files = item.assets.filter((name) => name !== "thumbnail" && name !== "rgb" && !name.endsWith(".classes"));
  return inOrder(item.attributes.color_palette ? [...files, "color_palette"] : files);
}

// One of `viewsOf` as a part.
export async function partOfItem(collection, item, modality) {
  const label = item.caption ?? item.attributes?.title ?? item.key;
  if (modality === "color_palette") return { kind: modality, colours: item.attributes.color_palette, label, of: item.key };
  const data = await dataOf(collection, item, modality);
  const part = { kind: modality, data, label, of: item.key, name: t("item.view", { view: kind(modality).name, key: item.key }) };
  if (kind(modality).files.includes("image")) part.url = `data:image/png;base64,${data}`;
  if (modality === "semseg") part.classes = await classesOf(collection, item);
  if (modality === "bounding_boxes" && item.assets.includes("rgb")) part.picture = await dataOf(collection, item, "rgb");
  return part;
}

// The names of a segmentation's ids: those that came with it, or else the item's attribute `classes`.
async function classesOf(collection, item) {
  if (!item.assets.includes("semseg.classes")) return item.attributes.classes;
  return JSON.parse(await (await api.asset(collection, item.key, "semseg.classes")).text());
}

const dataOf = async (collection, item, asset) => api.base64(await api.asset(collection, item.key, asset));
