// Talking to the service. A refusal is a `Problem` whose message is a sentence for people.

export class Problem extends Error {
  constructor(status, type, detail) {
    super(detail);
    this.status = status;
    this.type = type;
  }
}

const KEY = "anyseek-api-key";

export const keys = {
  get: () => sessionStorage.getItem(KEY),
  set: (key) => sessionStorage.setItem(KEY, key),
};

async function send(path, options = {}) {
  const headers = { ...options.headers };
  if (keys.get()) headers.authorization = `Bearer ${keys.get()}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The service does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, problem.type, problem.detail ?? `The service answered ${answer.status}.`);
}

const json = async (path, options) => (await send(path, options)).json();
const collectionPath = (name) => `/v1/collections/${encodeURIComponent(name)}`;

// "ready" or "loading"; throws what keeps the model from being loaded.
export async function readiness() {
  const { model } = await json("/healthz");
  if (model === "failed") await send("/readyz");
  return model;
}

export const collections = async () => (await json("/v1/collections")).collections;
export const models = async () => (await json("/v1/models")).models;

// The first items of a collection, in the form of hits.
export async function peek(collection, limit, signal) {
  const { items } = await json(`${collectionPath(collection)}/items?limit=${limit}`, { signal });
  return items.map((item) => ({ ...item, assets: item.assets.map((asset) => asset.name) }));
}

export function query(collection, parts, k, signal) {
  return json(`${collectionPath(collection)}/query`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ parts, k }),
    signal,
  });
}

// A file of an item as it was put.
export const asset = async (collection, key, name) => (await send(assetPath(collection, key, name))).blob();

const assetPath = (collection, key, name) =>
  `${collectionPath(collection)}/assets/${encodeURIComponent(name)}/${encodeURIComponent(key)}`;

// A map or boxes as a picture that can be shown: a data: URL.
export async function preview(body) {
  const answer = await send("/v1/previews", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return `data:image/png;base64,${await base64(await answer.blob())}`;
}

// Shows a picture of an item in `image`. With an API key it must be fetched by hand: an <img> sends no headers.
export async function showPicture(image, collection, key, name = "thumbnail") {
  const path = assetPath(collection, key, name);
  if (!keys.get()) {
    image.src = path;
    return;
  }
  try {
    const url = URL.createObjectURL(await (await send(path)).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Problem(0, "file", `${blob.name ?? "The file"} cannot be read.`));
    reader.readAsDataURL(blob);
  });
}
