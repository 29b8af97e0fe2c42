// The modalities of queries, and the files that contain them.
//
// `files` are sorts of files (image, npy, json, text); `drawn` marks what only the service can turn into a picture to
// look at. Their names are the texts `kind.…`, and `kind.….short` where there is little room. A modality that is not here, of a
// model that has more, goes by its own name and may be in any file.

import { named } from "./language.js";

const KINDS = {
  rgb: { files: ["image"] },
  canny_edge: { files: ["image"] },
  sam_edge: { files: ["image"] },
  depth: { files: ["image", "npy"], drawn: true },
  normal: { files: ["image", "npy"] },
  semseg: { files: ["image", "npy"], drawn: true },
  bounding_boxes: { files: ["json"], drawn: true },
  human_pose: { files: ["json"], drawn: true },
  sam_instance: { files: ["json"] },
  metadata: { files: ["json"] },
  color_palette: { files: ["json"] },
  caption: { files: ["text"] },
  clip: { files: ["npy"], drawn: true },
  dinov2: { files: ["npy"], drawn: true },
  imagebind: { files: ["npy"], drawn: true },
  dinov2_global: { files: ["npy"] },
  imagebind_global: { files: ["npy"] },
  t5_caption: { files: ["npy"] },
  item: { files: [] },
};
const FILES = [["npy", /\.(npy|npz|exr)$/i], ["json", /\.json$/i], ["text", /\.txt$/i]];

export function kind(modality) {
  const name = named(`kind.${modality}`, modality.replaceAll("_", " "));
  return { name, short: named(`kind.${modality}.short`, name), ...(KINDS[modality] ?? { files: ["image", "npy", "json"] }) };
}

// The sort of a file by the ending of its name, image by default.
export const sortOf = (file) => FILES.find(([, ending]) => ending.test(file.name))?.[0] ?? "image";

// The modalities among `modalities` that such a file may hold, in the order of the table.
export const kindsOf = (file, modalities) => inOrder(modalities).filter((name) => kind(name).files.includes(sortOf(file)));

export function inOrder(modalities) {
  const order = Object.keys(KINDS);
  const place = (modality) => (order.includes(modality) ? order.indexOf(modality) : order.length);
  return [...modalities].sort((a, b) => place(a) - place(b));
}
