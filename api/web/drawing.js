// The sheet for a line drawing: ink on paper.

import { pointsOf, Sheet } from "./sheet.js";

const PAPER = "#ffffff";
const INK = "#111111";

export class Drawing extends Sheet {
  constructor(given) {
    super(given);
    this.repaint();
  }

  // A PNG as a data: URL. Not toBlob, which may wait a second for the browser to be idle.
  url() {
    return this.canvas.toDataURL("image/png");
  }

  // The drawing as a part of a query; null for an empty sheet.
  part() {
    if (this.isEmpty) return null;
    const url = this.url();
    return { kind: "canny_edge", url, data: url.slice(url.indexOf(",") + 1), strokes: this.strokes.map((stroke) => [...stroke]) };
  }

  paint() {
    const { context, canvas } = this;
    context.fillStyle = PAPER;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.strokeStyle = INK;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) this.paintStroke(stroke);
  }

  // Through the middles of neighbouring points, so that corners of the sampled path do not show.
  paintStroke(stroke) {
    const { context } = this;
    const points = pointsOf(stroke);
    context.lineWidth = stroke[0];
    context.beginPath();
    context.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i++) {
      const middle = [(points[i][0] + points[i + 1][0]) / 2, (points[i][1] + points[i + 1][1]) / 2];
      context.quadraticCurveTo(...points[i], ...middle);
    }
    context.lineTo(...points.at(-1));
    context.stroke();
  }
}
