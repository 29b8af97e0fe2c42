// Filters as chips: what the items' attributes hold, with how many items have each value.

import { make } from "./dom.js";
import { counted, fieldName, readableDate } from "./words.js";

const MAX_VALUES = 12;
const MAX_FIELDS = 14;
// Of models and maps, not of people.
const HIDDEN = /^(classes|color_palette|bounding_boxes|metadata|human_pose|sam_instance|predicted\.colour_shares)(\.|$)|(^|\.)(lat|lon)$/;

const quote = (text) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
const named = (field) => (/^[\w.@]+$/.test(field) ? field : `\`${field}\``);
const endOfDay = (text) => (/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T23:59:59` : text);
const isDate = (text) => /^\d{4}-\d\d/.test(text);

// The filters as the service takes them; `where` is one written by hand, `folder` that in or below which items are.
export function filterText(filters, where, folder) {
  const parts = filters.map(({ field, values, from, to }) => {
    const name = named(field);
    if (values) return `${name} in (${values.map((value) => (typeof value === "string" ? quote(value) : value)).join(", ")})`;
    return [from && `${name} >= ${from}`, to && `${name} <= ${endOfDay(to)}`].filter(Boolean).join(" and ");
  });
  if (where) parts.push(`(${where})`);
  if (folder) parts.push(`@key starts with ${quote(folder)}`);
  return parts.filter(Boolean).join(" and ");
}

export function describe({ field, values, from, to }) {
  if (values) return `${fieldName(field)}: ${values.join(" or ")}`;
  const shown = (end) => (isDate(end) ? readableDate(end) : end);
  return `${fieldName(field)} ${[from && `from ${shown(from)}`, to && `to ${shown(to)}`].filter(Boolean).join(" ")}`;
}

// The filters that hold, each with a cross.
export function renderFilters(list, filters, where, onRemove) {
  const chip = (text, remove) =>
    make("li", { class: "filter" }, text, make("button", { type: "button", class: "cross", "aria-label": `Remove the filter ${text}`, onclick: remove }, "×"));
  const written = where ? [chip(where, () => onRemove(null))] : [];
  list.replaceChildren(...filters.map((filter) => chip(describe(filter), () => onRemove(filter))), ...written);
}

// The panel: a group for each attribute, with its values or the ends of a range. `onChange(field, filter or null)`.
export function renderFacets(panel, facets, filters, onChange) {
  const shown = facets.filter(isUseful).slice(0, MAX_FIELDS);
  const groups = shown.map((facet) => group(facet, filters.find((filter) => filter.field === facet.field), onChange));
  panel.replaceChildren(...(groups.length ? groups : [make("p", { class: "note" }, "The items of this collection have no attributes to filter by.")]));
}

// An attribute that has another text for nearly every item tells nobody anything as chips.
function isUseful({ field, items, distinct, values, least, first }) {
  if (HIDDEN.test(field)) return false;
  return Boolean(first) || least !== null || (values.length && (distinct <= MAX_VALUES || distinct < items / 3));
}

function group(facet, current, onChange) {
  const content = facet.first ? dates(facet, current, onChange) : facet.values.length ? values(facet, current, onChange) : numbers(facet, current, onChange);
  return make("fieldset", { class: "facet" }, make("legend", {}, fieldName(facet.field)), ...content);
}

function values({ field, values: counts }, current, onChange) {
  const chosen = new Set(current?.values);
  return counts.slice(0, MAX_VALUES).map(({ value, items }) => {
    const flip = (event) => {
      if (!chosen.delete(value)) chosen.add(value);
      event.currentTarget.setAttribute("aria-pressed", String(chosen.has(value)));
      onChange(field, chosen.size ? { field, values: [...chosen] } : null);
    };
    const attributes = { type: "button", class: "value", "aria-pressed": String(chosen.has(value)), title: counted(items, "item"), onclick: flip };
    return make("button", attributes, String(value), make("small", {}, items.toLocaleString("en")));
  });
}

const dates = ({ field, first, last }, current, onChange) => range(field, current, onChange, { type: "date", min: first.slice(0, 10), max: last.slice(0, 10) });
const numbers = ({ field, least, most }, current, onChange) => range(field, current, onChange, { type: "number", step: "any", min: least, max: most }, [least, most]);

function range(field, current, onChange, attributes, hints = []) {
  const end = (which, hint) => make("input", { ...attributes, value: current?.[which], placeholder: hint, "aria-label": `${fieldName(field)} ${which}`, onchange: changed });
  const ends = [end("from", hints[0]), end("to", hints[1])];
  function changed() {
    const [from, to] = ends.map((input) => input.value);
    onChange(field, from || to ? { field, from, to } : null);
  }
  return [make("label", {}, "from", ends[0]), make("label", {}, "to", ends[1])];
}
