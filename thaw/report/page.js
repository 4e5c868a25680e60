"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const told = JSON.parse($("told").textContent);
  const corners = JSON.parse($("corners").textContent);
  const AT_ONCE = 24;
  const two = told.classes.length === 2;

  const { bytes, percent, element, paint } = thaw;

  function floats(text) {
    return new Float32Array(bytes(text).buffer); // little-endian, as nearly every machine
  }

  // Tables that a heading sorts: text upwards first, numbers downwards; what is missing stays last.
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = heading.querySelector("button");
      button.addEventListener("click", () => {
        const text = button.dataset.sort === "text";
        const now = heading.getAttribute("aria-sort");
        const up = now === "none" ? text : now === "descending";
        for (const other of headings) other.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        for (const body of table.tBodies) sort(body, column, text, up);
      });
    });
  }
  function sort(body, column, text, up) {
    // a cell that spans columns stands for each of them, and has no value
    const value = (row) => {
      let place = 0;
      for (const cell of row.cells) {
        place += cell.colSpan;
        if (place > column) return cell.colSpan > 1 ? "" : (cell.dataset.value ?? "");
      }
      return "";
    };
    const rows = [...body.rows].map((row) => [value(row), row]);
    const fixed = rows.filter(([, row]) => row.classList.contains("sub"));
    const free = rows.filter(([, row]) => !row.classList.contains("sub"));
    free.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = text ? a.localeCompare(b) : a - b;
      return up ? order : -order;
    });
    body.append(...[...fixed, ...free].map(([, row]) => row));
  }

  // The model and the threshold that are looked at.
  const choice = $("model");
  const panels = [...document.querySelectorAll(".panel")];
  const slider = $("threshold");
  const models = new Map(
    told.models.map((model) => [
      model.name,
      {
        name: model.name,
        all: model.all && floats(model.all),
        p: model.p && floats(model.p),
        maps: model.maps && {
          ...model.maps,
          values: bytes(model.maps.values),
          at: new Map(model.maps.places.map((place, n) => [place, n])),
        },
      },
    ]),
  );
  const truth = told.true ? floats(told.true) : new Float32Array();
  let chosen = null; // the model's entry, or undefined where its answers are not here
  let name = "";
  let threshold = 0.5;

  function choose() {
    name = choice.selectedOptions[0].dataset.name;
    chosen = models.get(name);
    for (const panel of panels) panel.hidden = panel.dataset.name !== name;
    move();
  }

  function move() {
    threshold = slider ? Number(slider.value) : 0.5;
    if (slider) {
      slider.disabled = $("half").disabled = !chosen;
      $("threshold-says").textContent = threshold.toFixed(2);
      slider.setAttribute("aria-valuetext", `probability above ${threshold.toFixed(2)}`);
      $("moving").hidden = !chosen;
      if (chosen) count();
    }
    shown = AT_ONCE;
    gallery();
  }

  function count() {
    const cells = [[0, 0], [0, 0]];
    chosen.all.forEach((p, n) => cells[truth[n]][p > threshold ? 1 : 0]++);
    const [[tn, fp], [fn, tp]] = cells;
    const precision = tp / (tp + fp), recall = tp / (tp + fn), alarms = fp / (fp + tn);
    $("at-accuracy").textContent = percent((tp + tn) / truth.length);
    $("at-precision").textContent = percent(precision);
    $("at-recall").textContent = percent(recall);
    $("at-f1").textContent = percent((2 * tp) / (2 * tp + fp + fn));
    $("at-fpr").textContent = percent(alarms);
    const label = told.classes[1];
    $("moving-says").textContent =
      `${name} above ${threshold.toFixed(2)}: says “${label}” of ${tp + fp} test images and is ` +
      `right about ${tp} of them; it misses ${fn} of ${tp + fn}.`;
    const panel = panels.find((each) => !each.hidden);
    for (const cell of panel.querySelectorAll("[data-cell]")) {
      const [actual, said] = cell.dataset.cell.split(",").map(Number);
      const row = cells[actual][0] + cells[actual][1];
      const share = Math.round((100 * cells[actual][said]) / Math.max(row, 1));
      cell.style.setProperty("--share", `${share}%`);
      cell.firstChild.data = cells[actual][said].toLocaleString("en");
      cell.querySelector(".span").textContent = `${share}\u00a0%`;
    }
    mark(panel, "roc", alarms, recall);
    mark(panel, "pr", recall, precision);
  }

  // Where the threshold stands on a curve; the first of a kind is over all images.
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
  let shown = AT_ONCE;
  let listed = [];
  const filters = $("filters");

  function answer(place) {
    const many = told.classes.length;
    const p = chosen.p.subarray(place * many, (place + 1) * many);
    let said = 0;
    if (two) said = p[1] > threshold ? 1 : 0;
    else p.forEach((value, n) => { if (value > p[said]) said = n; });
    const actual = truth[told.images[place].n];
    return { place, p, said, actual, right: said === actual, sure: p[said] };
  }

  function gallery() {
    if (!filters) return;
    $("gallery-model").textContent = name;
    const wanted = (id) => $(id).value;
    listed = !chosen ? [] : told.images.map((_, place) => answer(place)).filter((each) => {
      const is = wanted("f-right");
      return (!is || each.right === (is === "right"))
        && (wanted("f-true") === "" || each.actual === Number(wanted("f-true")))
        && (wanted("f-said") === "" || each.said === Number(wanted("f-said")))
        && (wanted("f-group") === "" || told.images[each.place].g === wanted("f-group"));
    });
    const way = wanted("f-order") === "sure" ? -1 : 1;
    listed.sort((a, b) => way * (a.sure - b.sure) || a.place - b.place);
    draw();
  }

  function draw() {
    const some = listed.slice(0, shown);
    $("cards").replaceChildren(...some.map(card));
    $("more").hidden = listed.length <= shown;
    $("gallery-says").textContent = chosen
      ? `${listed.length} image${listed.length === 1 ? "" : "s"}` +
        (listed.length > shown ? `, of which ${shown} are shown` : "")
      : `What ${name} says of each test image is not here.`;
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
    const about = told.images[each.place];
    const label = told.classes[each.said], actual = told.classes[each.actual];
    const button = element(
      "button",
      { type: "button", className: each.right ? "right" : "wrong" },
      picture(told.thumbs[about.k], ""),
      element("span", { className: "verdict", textContent: `${label} ${percent(each.sure)}` }),
      element("span", { textContent: each.right ? "right" : `wrong: is ${actual}` }),
    );
    button.addEventListener("click", () => open(place));
    return element("li", {}, button);
  }

  // One image, with where the model looked.
  const dialog = $("detail");
  let opened = 0;

  function open(place) {
    opened = place;
    const each = listed[place], about = told.images[each.place];
    const label = told.classes[each.said], actual = told.classes[each.actual];
    $("detail-title").textContent = each.right
      ? `${label}, and ${name} says so`
      : `${name} says ${label}, and it is ${actual}`;
    const image = $("detail-image");
    image.alt = `test image ${about.p}`;
    image.onload = () => image.classList.toggle("tiny", image.naturalWidth < 64);
    if (told.thumbs[about.k]) image.src = told.thumbs[about.k];
    const order = [...each.p.keys()].sort((a, b) => each.p[b] - each.p[a]).slice(0, 10);
    $("detail-p").replaceChildren(...order.map((n) => element(
      "tr", {},
      element("th", { scope: "row", textContent: told.classes[n] }),
      element("td", { className: "number", textContent: percent(each.p[n]) }),
      element("td", {}, element("meter", { value: each.p[n], ariaLabel: told.classes[n] })),
    )));
    $("detail-path").textContent = about.g ? `${about.p}, group ${about.g}` : about.p;
    overlay(each);
    const like = about.like ?? [];
    $("detail-like-row").hidden = !like.length;
    $("detail-like").replaceChildren(...like.map(([n, cosine]) => {
      const [key, is, path] = told.train[n];
      return element("li", {}, picture(told.small?.[key], `training image ${path}`),
        `${is}, cosine ${cosine.toFixed(2)}`);
    }));
    if (!dialog.open) dialog.showModal();
  }

  function overlay(each) {
    const maps = chosen.maps, number = maps?.at.get(each.place), canvas = $("detail-map");
    const size = maps ? maps.height * maps.width : 0;
    const values = maps?.values.subarray(number * size, (number + 1) * size) ?? [];
    const kept = number !== undefined;
    const there = kept && values.some((value) => value > 0);
    $("detail-map-row").hidden = !there;
    canvas.hidden = !there || !$("detail-show").checked;
    $("detail-no-map").textContent = there ? "" : kept
      ? "Grad-CAM: no place in the image spoke for the answer by itself." : maps
      ? `Where ${name} looked is kept for ${maps.places.length} of these images, not for this one.`
      : `${name} has no map of where it looked.`;
    if (!there) return;
    const { height, width } = maps;
    // the class of the highest probability, whatever the threshold
    const best = each.p.indexOf(Math.max(...each.p));
    $("detail-map-says").textContent = `${name} saw “${told.classes[best]}”`;
    paint(canvas, height, width, values);
  }

  if (filters) {
    const groups = [...new Set(told.images.map((image) => image.g))].sort();
    if (groups.length > 1) {
      $("l-group").hidden = false;
      $("f-group").append(...groups.filter(Boolean).map((g) => element("option", { value: g, textContent: g })));
    }
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("input", () => { shown = AT_ONCE; gallery(); });
    $("more").addEventListener("click", () => {
      const first = shown;
      shown += AT_ONCE;
      draw();
      $("cards").children[first].firstChild.focus();
    });
    $("detail-show").addEventListener("input", () => overlay(listed[opened]));
    // of the document: the focus leaves the dialog where what had it is hidden
    document.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (dialog.open && step && listed[opened + step]) { event.preventDefault(); open(opened + step); }
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
  if (slider) {
    slider.addEventListener("input", move);
    $("half").addEventListener("click", () => { slider.value = 0.5; move(); });
  }
  choice.addEventListener("input", choose);
  choose();
})();
