"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("gallery-data").textContent);
  const corners = JSON.parse($("corners").textContent);
  const PAGE = 24; // images shown before "Show more"
  const two = data.classes.length === 2;

  const { bytes, percent, element, paint } = thaw;

  function floats(text) {
    return new Float32Array(bytes(text).buffer); // little-endian, like nearly every machine
  }

  // Sortable tables: text ascending first, numbers descending first. Missing values stay last.
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = heading.querySelector("button");
      button.addEventListener("click", () => {
        const text = button.dataset.sort === "text";
        const current = heading.getAttribute("aria-sort");
        const ascending = current === "none" ? text : current === "descending";
        for (const other of headings) other.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        for (const body of table.tBodies) sort(body, column, text, ascending);
      });
    });
  }
  function sort(body, column, text, ascending) {
    // a cell that spans several columns has no value in any of them
    const value = (row) => {
      let end = 0;
      for (const cell of row.cells) {
        end += cell.colSpan;
        if (end > column) return cell.colSpan > 1 ? "" : (cell.dataset.value ?? "");
      }
      return "";
    };
    const rows = [...body.rows].map((row) => [value(row), row]);
    const headings = rows.filter(([, row]) => row.classList.contains("sub"));
    const sorted = rows.filter(([, row]) => !row.classList.contains("sub"));
    sorted.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = text ? a.localeCompare(b) : a - b;
      return ascending ? order : -order;
    });
    body.append(...[...headings, ...sorted].map(([, row]) => row));
  }

  // The chosen model and threshold.
  const choice = $("model");
  const panels = [...document.querySelectorAll(".panel")];
  const slider = $("threshold");
  const models = new Map(
    data.models.map((model) => [
      model.name,
      {
        name: model.name,
        all: model.all && floats(model.all),
        p: model.p && floats(model.p),
        maps: model.maps && {
          ...model.maps,
          values: bytes(model.maps.values),
          numberOf: new Map(model.maps.places.map((place, n) => [place, n])),
        },
      },
    ]),
  );
  const truth = data.true ? floats(data.true) : new Float32Array();
  let chosen = null; // the model's entry, undefined if it has no predictions
  let name = "";
  let threshold = 0.5;

  function choose() {
    name = choice.selectedOptions[0].dataset.name;
    chosen = models.get(name);
    for (const panel of panels) panel.hidden = panel.dataset.name !== name;
    updateThreshold();
  }

  function updateThreshold() {
    threshold = slider ? Number(slider.value) : 0.5;
    if (slider) {
      slider.disabled = $("half").disabled = !chosen;
      $("threshold-value").textContent = threshold.toFixed(2);
      slider.setAttribute("aria-valuetext", `probability above ${threshold.toFixed(2)}`);
      $("at-threshold").hidden = !chosen;
      if (chosen) updateMetrics();
    }
    shown = PAGE;
    gallery();
  }

  function updateMetrics() {
    const cells = [[0, 0], [0, 0]];
    chosen.all.forEach((p, n) => cells[truth[n]][p > threshold ? 1 : 0]++);
    const [[tn, fp], [fn, tp]] = cells;
    const precision = tp / (tp + fp), recall = tp / (tp + fn), fpr = fp / (fp + tn);
    $("at-accuracy").textContent = percent((tp + tn) / truth.length);
    $("at-precision").textContent = percent(precision);
    $("at-recall").textContent = percent(recall);
    $("at-f1").textContent = percent((2 * tp) / (2 * tp + fp + fn));
    $("at-fpr").textContent = percent(fpr);
    const label = data.classes[1];
    $("at-threshold-status").textContent =
      `${name} at threshold ${threshold.toFixed(2)} predicts “${label}” for ${tp + fp} test images, ` +
      `${tp} of them correctly. It misses ${fn} of ${tp + fn}.`;
    const panel = panels.find((each) => !each.hidden);
    for (const cell of panel.querySelectorAll("[data-cell]")) {
      const [actual, predicted] = cell.dataset.cell.split(",").map(Number);
      const row = cells[actual][0] + cells[actual][1];
      const share = Math.round((100 * cells[actual][predicted]) / Math.max(row, 1));
      cell.style.setProperty("--share", `${share}%`);
      cell.firstChild.data = cells[actual][predicted].toLocaleString("en");
      cell.querySelector(".span").textContent = `${share}\u00a0%`;
    }
    mark(panel, "roc", fpr, recall);
    mark(panel, "pr", recall, precision);
  }

  // Mark the threshold on a curve. The first chart of a kind is over all images.
  function mark(panel, kind, x, y) {
    const svg = panel.querySelector(`[data-kind="${kind}"] svg`);
    if (!svg) return;
    let dot = svg.querySelector(".now");
    if (!dot) {
      dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      dot.setAttribute("class", "now");
      dot.setAttribute("r", "5");
      svg.append(dot);
    }
    dot.setAttribute("visibility", Number.isFinite(x + y) ? "visible" : "hidden");
    if (!Number.isFinite(x + y)) return;
    dot.setAttribute("cx", corners.left + x * corners.x);
    dot.setAttribute("cy", corners.bottom - y * corners.y);
  }

  // The gallery.
  let shown = PAGE;
  let listed = [];
  const filters = $("filters");

  function predict(place) {
    const count = data.classes.length;
    const p = chosen.p.subarray(place * count, (place + 1) * count);
    let predicted = 0;
    if (two) predicted = p[1] > threshold ? 1 : 0;
    else p.forEach((value, n) => { if (value > p[predicted]) predicted = n; });
    const actual = truth[data.images[place].n];
    return { place, p, predicted, actual, correct: predicted === actual, confidence: p[predicted] };
  }

  function gallery() {
    if (!filters) return;
    $("gallery-model").textContent = name;
    const filter = (id) => $(id).value;
    listed = !chosen ? [] : data.images.map((_, place) => predict(place)).filter((each) => {
      const kind = filter("f-correct");
      return (!kind || each.correct === (kind === "correct"))
        && (filter("f-true") === "" || each.actual === Number(filter("f-true")))
        && (filter("f-predicted") === "" || each.predicted === Number(filter("f-predicted")))
        && (filter("f-group") === "" || data.images[each.place].g === filter("f-group"));
    });
    const sign = filter("f-order") === "most" ? -1 : 1;
    listed.sort((a, b) => sign * (a.confidence - b.confidence) || a.place - b.place);
    draw();
  }

  function draw() {
    $("cards").replaceChildren(...listed.slice(0, shown).map(card));
    $("more").hidden = listed.length <= shown;
    $("gallery-status").textContent = chosen
      ? `${listed.length} image${listed.length === 1 ? "" : "s"}` +
        (listed.length > shown ? `, ${shown} shown` : "")
      : `There are no predictions of ${name} to show.`;
  }

  function picture(uri, alt) {
    const image = element("img", { alt, loading: "lazy", decoding: "async" });
    if (uri) {
      image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 64));
      image.src = uri;
    }
    return image;
  }

  function card(each, place) {
    const about = data.images[each.place];
    const label = data.classes[each.predicted], actual = data.classes[each.actual];
    const button = element(
      "button",
      { type: "button", className: each.correct ? "correct" : "wrong" },
      picture(data.thumbs[about.k], ""),
      element("span", { className: "verdict", textContent: `${label} ${percent(each.confidence)}` }),
      element("span", { textContent: each.correct ? "correct" : `wrong: true class ${actual}` }),
    );
    button.addEventListener("click", () => open(place));
    return element("li", {}, button);
  }

  // The dialog of one image, with its Grad-CAM map.
  const dialog = $("detail");
  let opened = 0;

  function open(place) {
    opened = place;
    const each = listed[place], about = data.images[each.place];
    const label = data.classes[each.predicted], actual = data.classes[each.actual];
    $("detail-title").textContent = each.correct
      ? `${name} correctly predicts ${label}`
      : `${name} predicts ${label}, the true class is ${actual}`;
    const image = $("detail-image");
    image.alt = `test image ${about.p}`;
    image.onload = () => {
      image.classList.toggle("tiny", image.naturalWidth < 64);
      image.parentNode.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
    };
    if (data.thumbs[about.k]) image.src = data.thumbs[about.k];
    const order = [...each.p.keys()].sort((a, b) => each.p[b] - each.p[a]).slice(0, 10);
    $("detail-p").replaceChildren(...order.map((n) => element(
      "tr", {},
      element("th", { scope: "row", textContent: data.classes[n] }),
      element("td", { className: "number", textContent: percent(each.p[n]) }),
      element("td", {}, element("meter", { value: each.p[n], ariaLabel: data.classes[n] })),
    )));
    $("detail-path").textContent = about.g ? `${about.p}, group ${about.g}` : about.p;
    overlay(each);
    const like = about.like ?? [];
    $("detail-like-row").hidden = !like.length;
    $("detail-like").replaceChildren(...like.map(([n, cosine]) => {
      const [key, label, path] = data.train[n];
      return element("li", {}, picture(data.small?.[key], `training image ${path}`),
        `${label}, cosine ${cosine.toFixed(2)}`);
    }));
    if (!dialog.open) dialog.showModal();
  }

  function overlay(each) {
    const maps = chosen.maps, number = maps?.numberOf.get(each.place), canvas = $("detail-map");
    const size = maps ? maps.height * maps.width : 0;
    const values = maps?.values.subarray(number * size, (number + 1) * size) ?? [];
    const recorded = number !== undefined;
    const visible = recorded && values.some((value) => value > 0);
    $("detail-map-row").hidden = !visible;
    canvas.hidden = !visible || !$("detail-show").checked;
    $("detail-no-map").textContent = visible ? "" : recorded
      ? "Grad-CAM: no area of the image speaks for the predicted class by itself." : maps
      ? `${name} has Grad-CAM maps for ${maps.places.length} of these images, not for this one.`
      : `${name} has no Grad-CAM maps.`;
    if (!visible) return;
    const { height, width } = maps;
    // maps are for the most probable class, whatever the threshold
    const best = each.p.indexOf(Math.max(...each.p));
    $("detail-map-class").textContent = `“${data.classes[best]}” in ${name}`;
    paint(canvas, height, width, values);
  }

  if (filters) {
    const groups = [...new Set(data.images.map((image) => image.g))].sort();
    if (groups.length > 1) {
      $("l-group").hidden = false;
      $("f-group").append(...groups.filter(Boolean).map((g) => element("option", { value: g, textContent: g })));
    }
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("input", () => { shown = PAGE; gallery(); });
    $("more").addEventListener("click", () => {
      const first = shown;
      shown += PAGE;
      draw();
      $("cards").children[first].firstChild.focus();
    });
    $("detail-show").addEventListener("input", () => overlay(listed[opened]));
    // on the document, because hiding the focused element moves the focus out of the dialog
    document.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (dialog.open && step && listed[opened + step]) { event.preventDefault(); open(opened + step); }
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
  if (slider) {
    slider.addEventListener("input", updateThreshold);
    $("half").addEventListener("click", () => { slider.value = 0.5; updateThreshold(); });
  }
  choice.addEventListener("input", choose);
  choose();
})();
