// Parts of a query to links and back.
//
// A link contains strokes, colours, words and keys completely, small files, and large pictures scaled down. In the same
// tab, Back finds the original file.

import { base64, item as getItem } from "./api.js";
import { partOfItem } from "./parts.js";

const MAX_BYTES = 48_000; // of a file in a link
const SIDE = 320; // pixels of a picture in a link: more than models see

const filesByLink = new Map(); // the data of a link -> its file

export async function toLink(part) {
  const { kind, weight, label, form, box } = part;
  const common = { k: kind, ...(weight !== 1 && { w: weight }), ...(label && { l: label }), ...(form && { o: form }), ...(box && { x: box }) };
  if (kind === "item") return { ...common, i: part.key, ...(part.caption && { l: part.caption }) };
  if (part.of) return { ...common, i: part.of };
  if (part.strokes) return { ...common, s: part.strokes, ...(part.names && { n: part.names, b: part.rest }) };
  if (part.colours) return { ...common, c: part.colours, ...(part.role && { r: 1 }) };
  if (kind === "caption") return { ...common, t: part.text };
  part.linked ??= inLink(part.file);
  return { ...common, f: part.file.name, d: await part.linked };
}

async function inLink(file) {
  const small = file.size <= MAX_BYTES ? file : await smaller(file);
  if (!small) return null;
  const data = `${small.type};${await base64(small)}`;
  filesByLink.set(data, file);
  return data;
}

async function smaller(file) {
  try {
    const picture = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.min(picture.width, picture.height));
    const sheet = document.createElement("canvas");
    Object.assign(sheet, { width: Math.round(picture.width * scale), height: Math.round(picture.height * scale) });
    sheet.getContext("2d").drawImage(picture, 0, 0, sheet.width, sheet.height);
    const small = await new Promise((resolve) => sheet.toBlob(resolve, "image/webp", 0.75));
    return small?.size <= MAX_BYTES ? small : null;
  } catch {
    return null;
  }
}

// The part that stands in a link; null where only the name of its file does.
export async function fromLink(collection, link) {
  const common = { kind: link.k, weight: link.w ?? 1, ...(link.l && { label: link.l }), ...(link.o && { form: link.o }), ...(link.x && { box: link.x }) };
  if (link.k === "item") return { ...common, key: link.i, caption: link.l };
  if (link.i) return { ...(await partOfItem(collection, asHit(await getItem(collection, link.i)), link.k)), ...common };
  if (link.s) return { ...common, strokes: link.s, ...(link.n ? { names: link.n, rest: link.b, role: "painting" } : { role: "drawing" }) };
  if (link.c) return { ...common, colours: link.c, ...(link.r && { role: "palette" }) };
  if (link.t) return { ...common, text: link.t };
  if (!link.d) return null;
  const file = filesByLink.get(link.d) ?? fileFrom(link);
  const shown = file.type.startsWith("image/");
  return { ...common, file, url: shown ? URL.createObjectURL(file) : null, linked: Promise.resolve(link.d) };
}

function fileFrom({ f: name, d: data }) {
  const [type, letters] = data.split(";");
  return new File([Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0))], name, { type });
}

// An item as the listing has it, in the form of a hit.
export const asHit = (item) => ({ ...item, assets: item.assets.map((asset) => asset.name) });
