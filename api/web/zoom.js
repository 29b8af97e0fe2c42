// Zooms the content of a stage by buttons, keys, wheel and pinch; a zoomed one can be dragged.

const MOST = 8;

export class Zoom {
  constructor(stage) {
    Object.assign(this, { stage, pointers: new Map() });
    this.reset();
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("dblclick", () => (this.scale > 1 ? this.reset() : this.by(2.5)));
    stage.addEventListener("pointerdown", (event) => this.pointers.set(event.pointerId, event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) stage.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
  }

  reset() {
    Object.assign(this, { scale: 1, x: 0, y: 0 });
    this.show();
  }

  by(factor) {
    this.scale = Math.max(1, Math.min(MOST, this.scale * factor));
    this.drag(0, 0);
  }

  drag(x, y) {
    const { width, height } = this.stage.getBoundingClientRect();
    const within = (place, side) => Math.max(-((this.scale - 1) * side) / 2, Math.min(((this.scale - 1) * side) / 2, place));
    this.x = within(this.x + x, width);
    this.y = within(this.y + y, height);
    this.show();
  }

  wheel(event) {
    event.preventDefault();
    this.by(Math.exp(-event.deltaY / 400));
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    const apart = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY) || 1;
    if (other) this.by(apart(event) / apart(before));
    else if (this.scale > 1) this.drag(event.clientX - before.clientX, event.clientY - before.clientY);
    this.pointers.set(event.pointerId, event);
  }

  show() {
    this.stage.style.setProperty("--zoom", this.scale);
    this.stage.style.setProperty("--move", `${this.x}px ${this.y}px`);
    this.stage.classList.toggle("zoomed", this.scale > 1);
  }
}
