// The filters that hold: chips above the grid, and the panel that offers more of them.

import * as api from "./api.js";
import { find } from "./dom.js";
import { filterText, renderFacets, renderFilters } from "./filters.js";

export class Filtering {
  // `onChange()` is told when people changed a filter, `onProblem(problem)` what went wrong.
  constructor(onChange, onProblem) {
    Object.assign(this, { onChange, onProblem, collection: null, filters: [], where: "" });
    find("write-filter").onsubmit = (event) => {
      event.preventDefault();
      this.where = find("where").value.trim();
      this.onChange();
    };
  }

  // Offers what a collection has.
  use(collection) {
    this.collection = collection;
    if (!find("filters").hidden) this.offer();
  }

  // Without telling: what a link has.
  restore({ filters, where }) {
    Object.assign(this, { filters, where });
  }

  clear() {
    this.restore({ filters: [], where: "" });
    this.changed();
  }

  changed() {
    if (!find("filters").hidden) this.offer();
    this.onChange();
  }

  // All that holds as one filter; `folder` is that in or below which items are.
  text(folder) {
    return filterText(this.filters, this.where, folder);
  }

  show() {
    renderFilters(find("held-filters"), this.filters, this.where, (filter) => {
      if (filter) this.filters = this.filters.filter((held) => held !== filter);
      else this.where = "";
      this.changed();
    });
  }

  async offer() {
    const { collection } = this;
    if (!collection) return;
    find("where").value = this.where; // before the facets come: what is typed meanwhile stays
    try {
      const facets = await api.facets(collection);
      if (collection !== this.collection) return;
      renderFacets(find("facets"), facets, this.filters, (field, filter) => {
        this.filters = [...this.filters.filter((held) => held.field !== field), ...(filter ? [filter] : [])];
        this.onChange();
      });
    } catch (problem) {
      this.onProblem(problem);
    }
  }
}
