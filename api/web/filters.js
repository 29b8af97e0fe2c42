// Filters as chips: what the items' attributes hold, with how many items have each value.

import { make } from "./dom.js";
import { listed, number, t } from "./language.js";
import { fieldName, readableDate } from "./words.js";

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
  const name = fieldName(field);
  if (values) return t("filter.values", { field: name, values: listed(values, "disjunction") });
  const shown = (end) => (isDate(end) ? readableDate(end) : end);
  return t(from && to ? "filter.range" : from ? "filter.field-from" : "filter.field-to", { field: name, from: shown(from), to: shown(to) });
}

// The filters that hold, each with a cross.
export function renderFilters(list, filters, where, onRemove) {
  const chip = (text, remove) =>
    make("li", { class: "filter" }, text, make("button", { type: "button", class: "cross", "aria-label": t("filter.remove", { filter: text }), onclick: remove }, "×"));
  const written = where ? [chip(where, () => onRemove(null))] : [];
  list.replaceChildren(...filters.map((filter) => chip(describe(filter), () => onRemove(filter))), ...written);
}

// The panel: a group for each attribute, with its values or the ends of a range. `onChange(field, filter or null)`.
export function renderFacets(panel, facets, filters, onChange) {
  const shown = facets.filter(isUseful).slice(0, MAX_FIELDS);
  const groups = shown.map((facet) => group(facet, filters.find((filter) => filter.field === facet.field), onChange));
  panel.replaceChildren(...(groups.length ? groups : [make("p", { class: "note" }, t("filter.none"))]));
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
    const attributes = { type: "button", class: "value", "aria-pressed": String(chosen.has(value)), title: t("count.items", { count: items }), onclick: flip };
    return make("button", attributes, String(value), make("small", {}, number(items)));
  });
}

const dates = ({ field, first, last }, current, onChange) => range(field, current, onChange, { type: "date", min: first.slice(0, 10), max: last.slice(0, 10) });
const numbers = ({ field, least, most }, current, onChange) => range(field, current, onChange, { type: "number", step: "any", min: least, max: most }, [least, most]);

function range(field, current, onChange, attributes, hints = []) {
  const end = (which, name, hint) => make("input", { ...attributes, value: current?.[which], placeholder: hint, "aria-label": `${fieldName(field)} ${name}`, onchange: changed });
  const names = [t("filter.from"), t("filter.to")];
  const ends = [end("from", names[0], hints[0]), end("to", names[1], hints[1])];
  function changed() {
    const [from, to] = ends.map((input) => input.value);
    onChange(field, from || to ? { field, from, to } : null);
  }
  return ends.map((input, place) => make("label", {}, names[place], input));
}
