(() => {
  "use strict";
  const { bytes, percent, element, paint } = thaw;
  const $ = (id) => document.getElementById(id);
  const settings = JSON.parse($("settings").textContent);
  const MAX_REQUESTS = 4; // open at once; the server classifies them in one batch
  const MAX_CLASSES = 10; // listed for each image
  const PREVIEW_PIXELS = 480; // longest side of a preview; keeps memory small with many large photos
  const PREVIEW_REM = 16; // width of a preview

  let entries = []; // {file, name, item, result, error}
  let waiting = [];
  let running = 0;
  let drawing = Promise.resolve(); // one preview at a time: a decoded photo takes 50 MB

  function add(files) {
    for (const file of files) {
      const entry = { file, name: file.name || "pasted image" };
      const busy = element("p", { className: "busy", textContent: "waiting" });
      const box = element("div", { className: "preview" });
      entry.item = element(
        "li", { className: "result" }, element("h2", { textContent: entry.name }), box, busy,
      );
      $("results").append(entry.item);
      entries.push(entry);
      waiting.push(entry);
      entry.drawn = drawing = drawing.then(() => preview(entry, box));
    }
    showStatus();
    while (running < MAX_REQUESTS && waiting.length) work();
  }

  async function work() {
    running += 1;
    for (let entry = waiting.shift(); entry; entry = waiting.shift()) {
      entry.item.querySelector(".busy").textContent = "classifying";
      try {
        entry.result = await classify(entry);
        await entry.drawn;
        show(entry);
      } catch (error) {
        entry.error = error.message;
        fail(entry);
      }
      entry.file = null; // frees memory; the preview has been drawn
      showStatus();
    }
    running -= 1;
  }

  async function classify(entry) {
    const { file, name } = entry;
    if (file.size > settings.bytes) {
      throw new Error(`The file has ${size(file.size)}. At most ${size(settings.bytes)} are accepted.`);
    }
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Error("The file cannot be read. If it is a folder, choose the images in it.");
    }
    const form = new FormData();
    form.append("images", file, name);
    for (;;) {
      let response, content;
      try {
        response = await fetch("/predict?explain=true", { method: "POST", body: form });
        content = await response.json();
      } catch {
        throw new Error("The server does not respond. Is `thaw serve` still running?");
      }
      if (response.ok) return content.images[0];
      if (response.status !== 503) throw new Error(content.error);
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      entry.item.querySelector(".busy")?.replaceChildren("waiting: the server is busy");
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    }
  }

  // Draws the file as a preview. If the browser cannot decode it, `show` uses the server's picture.
  async function preview(entry, box) {
    let bitmap = null;
    try {
      bitmap = await createImageBitmap(entry.file);
    } catch {
      return;
    }
    const { width, height } = bitmap;
    const scale = Math.min(1, PREVIEW_PIXELS / Math.max(width, height));
    const canvas = element("canvas", {
      width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)),
    });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    canvas.setAttribute("role", "img");
    place(box, canvas, width, height, entry.name);
  }

  function place(box, picture, width, height, name) {
    picture.classList.add("shown");
    picture.classList.toggle("tiny", Math.max(width, height) < 64);
    picture.setAttribute("aria-label", name);
    box.style.width = `min(100%, ${PREVIEW_REM * Math.min(1, width / height)}rem)`;
    box.prepend(picture);
  }

  function show(entry) {
    const { item, result } = entry;
    const box = item.querySelector(".preview");
    const { map, neighbours, picture } = result.explanation;
    if (!box.firstChild) place(box, element("img", { src: picture, alt: "" }), 1, 1, entry.name);
    const values = map && bytes(map.values);
    const blank = values && !values.some((value) => value > 0);
    if (values && !blank) {
      const canvas = element("canvas", { className: "map", hidden: !$("overlay").checked });
      canvas.setAttribute("aria-hidden", "true");
      paint(canvas, map.height, map.width, values);
      box.append(canvas);
    }
    const order = Object.entries(result.probabilities).sort(([, a], [, b]) => b - a);
    const bars = order.slice(0, MAX_CLASSES).map(([label, p]) => {
      const bar = element("span");
      bar.style.width = `${100 * p}%`;
      const track = element("span", { className: "track" }, bar);
      track.setAttribute("aria-hidden", "true");
      return element("li", {}, element("span", { textContent: label }),
        element("span", { textContent: percent(p) }), track);
    });
    const notes = [`${seconds(result.milliseconds)}`];
    if (order.length > MAX_CLASSES) notes.push(`${order.length - MAX_CLASSES} less likely classes`);
    if (blank) notes.push("Grad-CAM: no part of the image supports this class");
    const list = element("ul", { className: "probabilities" }, ...bars);
    list.setAttribute("aria-label", `Probabilities, ${entry.name}`);
    const details = element(
      "div", {},
      element("p", { className: "prediction" }, element("strong", { textContent: result.class }),
        ` ${percent(result.probability)}`),
      list,
      element("p", { className: "small", textContent: notes.join("; ") }),
    );
    item.querySelector(".busy").replaceWith(details);
    if (neighbours) item.append(similarImages(entry, neighbours));
  }

  function similarImages(entry, neighbours) {
    const list = element("ul", { className: "similar" }, ...neighbours.map((neighbour) => {
      const image = element("img", { alt: `training image ${neighbour.file}` });
      if (neighbour.picture) {
        image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 64));
        image.src = neighbour.picture;
      }
      return element("li", {}, ...(neighbour.picture ? [image] : [`${neighbour.file}: `]),
        neighbour.label, element("br"), `similarity ${neighbour.similarity.toFixed(2)}`);
    }));
    list.setAttribute("aria-label", `Training images most similar to ${entry.name}`);
    return element("div", { className: "nearest" },
      element("h3", { textContent: `Most similar training images, by features of ${settings.features}` }),
      list);
  }

  function fail(entry) {
    const message = entry.error[0].toUpperCase() + entry.error.slice(1);
    entry.item.querySelector(".preview").remove();
    entry.item.querySelector(".busy").replaceWith(element("p", { className: "failed", textContent: message }));
  }

  function showStatus() {
    const done = entries.filter((entry) => entry.result).length;
    const failed = entries.filter((entry) => entry.error).length;
    const left = entries.length - done - failed;
    $("controls").hidden = !entries.length;
    $("download").disabled = !(done + failed) || left > 0;
    $("status").textContent = !entries.length ? "" :
      `${done} of ${entries.length} image${entries.length === 1 ? "" : "s"} classified` +
      (failed ? `, ${failed} failed` : "") + (left ? `, ${left} left` : "") + ".";
  }

  function size(count) {
    return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
  }
  function seconds(milliseconds) {
    return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
  }

  // The columns of `thaw predict --csv`.
  function table() {
    const header = ["file", "class", "probability", ...settings.classes.map((c) => `probability of ${c}`), "error"];
    const rows = entries.map(({ name, result, error }) => result
      ? [name, result.class, result.probability.toFixed(6),
        ...settings.classes.map((c) => result.probabilities[c].toFixed(6)), ""]
      : [name, "", "", ...settings.classes.map(() => ""), error]);
    const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [header, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
  }

  $("download").addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    element("a", { href: url, download: `${settings.model}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
  $("clear").addEventListener("click", () => {
    entries = [];
    waiting = [];
    $("results").replaceChildren();
    showStatus();
    $("files").focus();
  });
  $("overlay")?.addEventListener("input", () => {
    for (const map of document.querySelectorAll(".map")) map.hidden = !$("overlay").checked;
  });
  $("files").addEventListener("change", () => {
    add([...$("files").files]);
    $("files").value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (!files.length) return;
    event.preventDefault();
    add(files);
  });
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
})();
