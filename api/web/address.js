// The page's address: the whole query is in the fragment, so that a link, a reload and Back restore it.
//
//   c=rooms          the collection                    sort=newest      the order without a query: key, newest, oldest
//   q=an+orange+dog  the words                         item=KEY         the item that is open
//   like=KEY         an item to find more like         where=TEXT       a filter as people write it
//   f=FIELD=A|B, f=FIELD~FROM~TO                        a filter of the panel
//   in=2024/05/      the folder that is browsed; empty for the topmost
//   sure=0.3         the least probability of a hit
//   p=…              the other parts (links.js), as JSON, deflated, in base64url

const text = (value) => value?.trim() ?? "";

export async function readAddress(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return {
    collection: given.get("c"),
    words: text(given.get("q")),
    like: given.getAll("like"),
    where: text(given.get("where")),
    filters: given.getAll("f").map(readFilter).filter(Boolean),
    sort: given.get("sort") ?? "key",
    item: given.get("item"),
    sure: readShare(given.get("sure")),
    folder: given.has("in") ? given.get("in").replace(/(?<=[^/])$/, "/") : null,
    parts: given.has("p") ? await unpack(given.get("p")) : [],
  };
}

export async function writeAddress({ collection, words, like, where, filters, sort, item, folder, sure, parts }) {
  const address = new URLSearchParams();
  if (collection) address.set("c", collection);
  if (text(words)) address.set("q", text(words));
  for (const key of like) address.append("like", key);
  if (text(where)) address.set("where", text(where));
  for (const filter of filters) address.append("f", writeFilter(filter));
  if (sort !== "key") address.set("sort", sort);
  if (sure > 0) address.set("sure", sure);
  if (folder !== null) address.set("in", folder);
  if (parts.length) address.set("p", await pack(parts));
  if (item) address.set("item", item);
  return `#${address}`;
}

// A probability; 0 for an invalid one.
function readShare(written) {
  const share = Number(written ?? 0);
  return share >= 0 && share <= 1 ? share : 0;
}

const escape = encodeURIComponent; // leaves no = ~ | of a value unescaped but ~, which is escaped below
const safe = (value) => escape(value).replaceAll("~", "%7E");

function writeFilter({ field, values, from, to }) {
  if (values) return `${safe(field)}=${values.map((value) => safe(JSON.stringify(value))).join("|")}`;
  return `${safe(field)}~${safe(from ?? "")}~${safe(to ?? "")}`;
}

// A filter of a link; null for a broken one.
function readFilter(written) {
  try {
    const [, field, values] = /^([^=~]+)=(.+)$/.exec(written) ?? [];
    if (field) return { field: decodeURIComponent(field), values: values.split("|").map((value) => JSON.parse(decodeURIComponent(value))) };
    const [name, from, to] = written.split("~").map(decodeURIComponent);
    return to === undefined ? null : { field: name, from, to };
  } catch {
    return null;
  }
}

export async function pack(value) {
  const bytes = await through(new CompressionStream("deflate-raw"), new TextEncoder().encode(JSON.stringify(value)));
  const letters = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

// The inverse of `pack`; empty for a truncated link.
async function unpack(packed) {
  try {
    const letters = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
    const found = JSON.parse(new TextDecoder().decode(await through(new DecompressionStream("deflate-raw"), bytes)));
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

async function through(stream, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}
