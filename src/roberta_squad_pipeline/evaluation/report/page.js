const read = (id) => JSON.parse(document.getElementById(id).textContent);

/* Figures */

async function loadPlotly() {
  const packed = document.getElementById("plotly").textContent;
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

function inThisScheme(layout) {
  const style = getComputedStyle(document.body);
  const ink = style.getPropertyValue("--ink").trim();
  const card = style.getPropertyValue("--card").trim();
  const narrow = innerWidth < 600;
  return {
    ...layout,
    title: undefined,
    // That of the card, which is at least as high as the figure wants to be.
    height: undefined,
    autosize: true,
    font: { ...layout.font, color: ink, family: style.fontFamily, size: narrow ? 11 : 13 },
    margin: { l: 48, r: 12, t: 40, b: 44 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { namelength: -1, bgcolor: card, font: { color: ink } },
    dragmode: narrow ? false : "zoom",
  };
}

async function drawFigures(showGroup) {
  const figures = read("figures-data");
  try {
    await loadPlotly();
  } catch (error) {
    document.querySelectorAll(".plot").forEach((place) => {
      place.textContent = "This browser is too old for the figures; those of 2023 or later show them.";
    });
    return;
  }
  const config = { displaylogo: false, responsive: true, displayModeBar: false };
  const draw = () => {
    for (const [name, figure] of Object.entries(figures)) {
      Plotly.react(`figure-${name}`, figure.data, inThisScheme(figure.layout), config);
    }
  };
  draw();
  document.getElementById("figure-slices")?.on("plotly_click", ({ points: [point] }) =>
    showGroup?.(point.data.meta, point.id));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.body.dataset.drawn = "yes";
}

/* Questions */

const SHOWN_AT_ONCE = 50;
const COLUMNS = ["id", "title", "question", "answers", "predicted", "abstains", "outcome", "f1",
  "no_answer_score", "no_answer_probability", "answer_probability", "windows"];

const idOf = (group) => group.replaceAll(" ", "-");
const usual = (control) => control.options?.[0].value ?? "";

function browse() {
  const { passages, questions, outcomes, groups } = read("browser-data");
  const list = document.getElementById("questions");
  const more = document.getElementById("more");
  const form = document.querySelector(".controls");
  const controls = [...form.querySelectorAll("input, select")];
  const control = (id) => document.getElementById(id);
  const groupNames = Object.keys(groups);
  questions.forEach((question, place) => {
    question.place = place;
    question.title = passages[question.passage].title;
    question.haystack = [question.question, question.predicted, ...question.answers, question.id]
      .join("\n").toLowerCase();
  });
  const haystackOfPassage = passages.map(({ title, text }) => `${title}\n${text}`.toLowerCase());
  let found = [];
  let shown = 0;

  const isMistake = (question) => !["right", "abstained"].includes(question.outcome);
  const orders = {
    file: (a, b) => a.place - b.place,
    f1: (a, b) => a.f1 - b.f1 || a.place - b.place,
    unanswerable: (a, b) => b.no_answer_score - a.no_answer_score,
    answerable: (a, b) => a.no_answer_score - b.no_answer_score,
    sure: (a, b) => b.answer_probability - a.answer_probability,
    unsure: (a, b) => a.answer_probability - b.answer_probability,
  };

  function search() {
    const words = control("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const outcome = control("outcome").value;
    const group = groupNames.map((name) => control(idOf(name)).value);
    found = questions.filter((question) =>
      (outcome === "" || (outcome === "mistakes" ? isMistake(question) : question.outcome === outcome))
      && group.every((value, number) =>
        value === "" || value === groups[groupNames[number]][question.groups[number]])
      && words.every((one) =>
        question.haystack.includes(one) || haystackOfPassage[question.passage].includes(one)));
    found.sort(orders[control("order").value]);
    list.replaceChildren();
    shown = 0;
    const count = found.length === questions.length ? "All" : `${found.length} of`;
    const f1 = 100 * found.reduce((sum, question) => sum + question.f1, 0) / found.length;
    control("found").textContent = `${count} ${questions.length} questions`
      + (found.length ? `, F1 ${f1.toFixed(1)}.` : ".");
    showMore();
    keepInAddress();
  }

  function keepInAddress() {
    const chosen = controls.filter((one) => one.value !== usual(one)).map((one) => [one.id, one.value]);
    const now = location.hash.slice(1);
    // The name of a part of the page stays where nothing is chosen.
    if (!chosen.length && !now.includes("=")) return;
    try {
      history.replaceState(null, "", `#${new URLSearchParams(chosen)}`);
    } catch (error) {
      // A page shown inside another one, as MLflow does, has no address of its own.
    }
  }

  function fromAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    if (!controls.some(({ id }) => given.has(id))) return search();
    for (const one of controls) {
      one.value = given.get(one.id) ?? usual(one);
      if (one.selectedIndex === -1) one.value = usual(one);
    }
    search();
    document.getElementById("asked").scrollIntoView();
  }

  function showGroup(name, value) {
    form.reset();
    control(idOf(name)).value = value;
    document.getElementById("asked").scrollIntoView();
    document.getElementById("asked").focus({ preventScroll: true });
  }

  function showMore() {
    const next = found.slice(shown, shown + SHOWN_AT_ONCE);
    list.append(...next.map((question) => row(question, passages, outcomes)));
    shown += next.length;
    more.hidden = shown >= found.length;
  }

  groupNames.forEach((name, number) => {
    const counts = groups[name].map(() => 0);
    questions.forEach((question) => { counts[question.groups[number]] += 1; });
    control(idOf(name)).append(
      ...groups[name].map((value, place) => option(value, `${value} (${counts[place]})`)));
  });
  for (const [name, label] of Object.entries(outcomes)) {
    const count = questions.filter(({ outcome }) => outcome === name).length;
    control("outcome").append(option(name, `${label} (${count})`));
  }

  let waiting;
  control("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 120);
  });
  form.querySelectorAll("select").forEach((one) => one.addEventListener("change", search));
  form.addEventListener("submit", (event) => event.preventDefault());
  // During the event the controls still have their old values.
  form.addEventListener("reset", () => setTimeout(search));
  more.addEventListener("click", showMore);
  control("save").addEventListener("click", () => save("questions.csv", [
    COLUMNS,
    ...found.map((question) => COLUMNS.map((name) => question[name])),
  ]));
  addEventListener("hashchange", fromAddress);
  fromAddress();
  return showGroup;
}

function save(name, rows) {
  const cell = (value) => {
    const text = [value].flat().join(" | ");
    // A spreadsheet would execute it; numbers may be negative.
    const safe = typeof value !== "number" && /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
    return `"${safe.replaceAll('"', '""')}"`;
  };
  const lines = rows.map((values) => values.map(cell).join(",") + "\r\n");
  const link = make("a");
  // The mark at the beginning tells Excel that this is UTF-8.
  link.href = URL.createObjectURL(new Blob(["\ufeff", ...lines], { type: "text/csv" }));
  link.download = name;
  link.click();
}

function option(value, text) {
  const element = make("option", "", text);
  element.value = value;
  return element;
}

function row(question, passages, outcomes) {
  const item = make("li");
  const button = make("button", "row");
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  button.append(make("span", "asked", question.question));
  button.append(make("span", "numbers", `F1 ${(100 * question.f1).toFixed(0)}`));
  const what = make("span", "what");
  what.append(make("span", question.outcome, outcomes[question.outcome]));
  what.append(` · ${question.abstains ? "no answer" : question.predicted}`);
  button.append(what);
  button.append(make("span", "numbers soft", question.no_answer_score.toFixed(2)));
  item.append(button);
  button.addEventListener("click", () => {
    const open = item.querySelector(".detail");
    button.setAttribute("aria-expanded", String(!open));
    if (open) open.remove();
    else item.append(detail(question, passages[question.passage]));
  });
  return item;
}

function detail(question, passage) {
  const box = make("div", "detail");
  const characters = Array.from(passage.text);
  if (passage.title) box.append(make("p", "soft", passage.title));
  box.append(markedPassage(
    { gold: question.gold, predicted: [question.spans[0].slice(0, 2)] }, characters));
  const facts = make("dl");
  const fact = (name, value) => {
    const shown = make("dd");
    shown.append(value);
    facts.append(make("dt", "", name), shown);
  };
  fact("gold", question.answers.length ? [...new Set(question.answers)].join(" / ") : "no answer");
  const spans = make("ol", "spans");
  for (const [start, end, probability] of question.spans) {
    const span = make("li", "", characters.slice(start, end).join(""));
    span.prepend(make("span", "numbers", probability.toFixed(3)), " ");
    spans.append(span);
  }
  fact(question.abstains ? "best spans (abstained from)" : "best spans", spans);
  fact("no answer", `probability ${question.no_answer_probability.toFixed(3)}, `
    + `score ${question.no_answer_score.toFixed(3)}`);
  fact("windows", String(question.windows));
  fact("id", question.id);
  box.append(facts);
  return box;
}

drawFigures(document.getElementById("questions") ? browse() : undefined);
