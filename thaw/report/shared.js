// Functions used by the report and by the page of `thaw serve`.
const thaw = (() => {
  "use strict";

  function bytes(text) {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  }
  function percent(value) {
    return Number.isFinite(value) ? `${(100 * value).toFixed(1)}\u00a0%` : "–";
  }
  function element(tag, properties = {}, ...children) {
    const created = Object.assign(document.createElement(tag), properties);
    created.append(...children);
    return created;
  }

  // Paint a map (values 0 to 255, row by row) as colours to lay over an image.
  function paint(canvas, height, width, values) {
    const small = new ImageData(width, height);
    values.forEach((value, n) => small.data.set([255, 225 - value * 0.75, 40, value * 0.72], 4 * n));
    const source = element("canvas", { width, height });
    source.getContext("2d").putImageData(small, 0, 0);
    canvas.width = canvas.height = 320;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, canvas.width, canvas.height);
  }

  return { bytes, percent, element, paint };
})();
