(() => {
  "use strict";
  const { bytes, percent, element, paint } = thaw;
  const $ = (id) => document.getElementById(id);
  const told = JSON.parse($("told").textContent);
  const AT_ONCE = 4; // requests; the server gathers them into one pass
  const SHOWN = 10; // classes of an image
  const SIDE = 480; // pixels of a picture, so that many large photographs fit into memory
  const WIDE = 16; // rem of a picture

  let entries = []; // {file, name, item, said, error}
  let waiting = [];
  let running = 0;
  let drawing = Promise.resolve(); // one picture at a time: decoded, a photograph has 50 MB

  function add(files) {
    for (const file of files) {
      const entry = { file, name: file.name || "pasted image" };
      const busy = element("p", { className: "busy", textContent: "waiting" });
      const look = element("div", { className: "look" });
      entry.item = element(
        "li", { className: "result" }, element("h2", { textContent: entry.name }), look, busy,
      );
      $("results").append(entry.item);
      entries.push(entry);
      waiting.push(entry);
      entry.drawn = drawing = drawing.then(() => preview(entry, look));
    }
    tell();
    while (running < AT_ONCE && waiting.length) work();
  }

  async function work() {
    running += 1;
    for (let entry = waiting.shift(); entry; entry = waiting.shift()) {
      entry.item.querySelector(".busy").textContent = "the model is looking at it";
      try {
        entry.said = await ask(entry);
        await entry.drawn;
        show(entry);
      } catch (error) {
        entry.error = error.message;
        fail(entry);
      }
      entry.file = null; // what is shown was drawn
      tell();
    }
    running -= 1;
  }

  async function ask(entry) {
    const { file, name } = entry;
    if (file.size > told.bytes) {
      throw new Error(`${size(file.size)} are too many: at most ${size(told.bytes)} are taken.`);
    }
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Error("This cannot be read. If it is a folder, choose the images in it.");
    }
    const form = new FormData();
    form.append("images", file, name);
    for (;;) {
      let answer, content;
      try {
        answer = await fetch("/predict?explain=true", { method: "POST", body: form });
        content = await answer.json();
      } catch {
        throw new Error("The server gave no answer. Does `thaw serve` still run?");
      }
      if (answer.ok) return content.images[0];
      if (answer.status !== 503) throw new Error(content.error);
      const seconds = Number(answer.headers.get("Retry-After")) || 1;
      entry.item.querySelector(".busy")?.replaceChildren("many images are waiting");
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    }
  }

  // The picture as the browser reads it; what it cannot read, the server's answer brings.
  async function preview(entry, look) {
    let bitmap = null;
    try {
      bitmap = await createImageBitmap(entry.file);
    } catch {
      return;
    }
    const { width, height } = bitmap;
    const scale = Math.min(1, SIDE / Math.max(width, height));
    const canvas = element("canvas", {
      width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)),
    });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    canvas.setAttribute("role", "img");
    put(look, canvas, width, height, entry.name);
  }

  function put(look, shown, width, height, name) {
    shown.classList.add("shown");
    shown.classList.toggle("tiny", Math.max(width, height) < 64);
    shown.setAttribute("aria-label", name);
    look.style.width = `min(100%, ${WIDE * Math.min(1, width / height)}rem)`;
    look.prepend(shown);
  }

  function show(entry) {
    const { item, said } = entry;
    const look = item.querySelector(".look");
    const { map, neighbours, picture } = said.explanation;
    if (!look.firstChild) put(look, element("img", { src: picture, alt: "" }), 1, 1, entry.name);
    const saw = map && bytes(map.values);
    const blank = saw && !saw.some((value) => value > 0);
    if (saw && !blank) {
      const canvas = element("canvas", { className: "map", hidden: !$("overlay").checked });
      canvas.setAttribute("aria-hidden", "true");
      paint(canvas, map.height, map.width, saw);
      look.append(canvas);
    }
    const order = Object.entries(said.probabilities).sort(([, a], [, b]) => b - a);
    const chances = order.slice(0, SHOWN).map(([label, p]) => {
      const bar = element("span");
      bar.style.width = `${100 * p}%`;
      const track = element("span", { className: "track" }, bar);
      track.setAttribute("aria-hidden", "true");
      return element("li", {}, element("span", { textContent: label }),
        element("span", { textContent: percent(p) }), track);
    });
    const notes = [`${seconds(said.milliseconds)}`];
    if (order.length > SHOWN) notes.push(`${order.length - SHOWN} less likely classes`);
    if (blank) notes.push("Grad-CAM: no place in it spoke for the answer by itself");
    const list = element("ul", { className: "chances" }, ...chances);
    list.setAttribute("aria-label", `Probabilities, ${entry.name}`);
    const answer = element(
      "div", {},
      element("p", { className: "verdict" }, element("strong", { textContent: said.class }),
        ` ${percent(said.probability)}`),
      list,
      element("p", { className: "small", textContent: notes.join("; ") }),
    );
    item.querySelector(".busy").replaceWith(answer);
    if (neighbours) item.append(near(entry, neighbours));
  }

  function near(entry, neighbours) {
    const list = element("ul", { className: "like" }, ...neighbours.map((each) => {
      const image = element("img", { alt: `training image ${each.file}` });
      if (each.picture) {
        image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 64));
        image.src = each.picture;
      }
      return element("li", {}, ...(each.picture ? [image] : [`${each.file}: `]),
        each.label, element("br"), `similarity ${each.similarity.toFixed(2)}`);
    }));
    list.setAttribute("aria-label", `Training images most like ${entry.name}`);
    return element("div", { className: "near" },
      element("h3", { textContent: `Training images most like it, by features of ${told.features}` }),
      list);
  }

  function fail(entry) {
    const said = entry.error[0].toUpperCase() + entry.error.slice(1);
    entry.item.querySelector(".look").remove();
    entry.item.querySelector(".busy").replaceWith(element("p", { className: "failed", textContent: said }));
  }

  function tell() {
    const done = entries.filter((entry) => entry.said).length;
    const failed = entries.filter((entry) => entry.error).length;
    const left = entries.length - done - failed;
    $("controls").hidden = !entries.length;
    $("download").disabled = !(done + failed) || left > 0;
    $("says").textContent = !entries.length ? "" :
      `${done} of ${entries.length} image${entries.length === 1 ? "" : "s"} done` +
      (failed ? `, ${failed} could not be used` : "") + (left ? `, ${left} to go` : "") + ".";
  }

  function size(count) {
    return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
  }
  function seconds(milliseconds) {
    return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
  }

  // The columns of `thaw predict --csv`.
  function table() {
    const head = ["file", "class", "probability", ...told.classes.map((c) => `probability of ${c}`), "error"];
    const rows = entries.map(({ name, said, error }) => said
      ? [name, said.class, said.probability.toFixed(6),
        ...told.classes.map((c) => said.probabilities[c].toFixed(6)), ""]
      : [name, "", "", ...told.classes.map(() => ""), error]);
    const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [head, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
  }

  $("download").addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    element("a", { href: url, download: `${told.model}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
  $("clear").addEventListener("click", () => {
    entries = [];
    waiting = [];
    $("results").replaceChildren();
    tell();
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
  const brings = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    document.body.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
})();
