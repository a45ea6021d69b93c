"use strict";

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  // Never as markup: whatever a data set holds stays text.
  if (text !== undefined) element.textContent = text;
  return element;
};

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

async function drawFigures() {
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
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.body.dataset.drawn = "yes";
}

/* Questions */

const SHOWN_AT_ONCE = 50;

function browse() {
  const { passages, questions, outcomes } = read("browser-data");
  const list = document.getElementById("questions");
  const more = document.getElementById("more");
  const control = (id) => document.getElementById(id);
  questions.forEach((question, place) => {
    question.place = place;
    question.haystack = [question.text, question.predicted, ...question.answers, question.id]
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
    const word = control("word").value;
    found = questions.filter((question) =>
      (outcome === "" || (outcome === "mistakes" ? isMistake(question) : question.outcome === outcome))
      && (word === "" || question.word === word)
      && words.every((one) =>
        question.haystack.includes(one) || haystackOfPassage[question.passage].includes(one)));
    found.sort(orders[control("order").value]);
    list.replaceChildren();
    shown = 0;
    control("found").textContent = found.length === questions.length
      ? `All ${questions.length} questions.`
      : `${found.length} of ${questions.length} questions.`;
    showMore();
  }

  function showMore() {
    const next = found.slice(shown, shown + SHOWN_AT_ONCE);
    list.append(...next.map((question) => row(question, passages, outcomes)));
    shown += next.length;
    more.hidden = shown >= found.length;
  }

  const counts = new Map();
  questions.forEach(({ word }) => counts.set(word, (counts.get(word) ?? 0) + 1));
  const byCount = [...counts].sort((a, b) => b[1] - a[1]);
  control("word").append(...byCount.map(([word, count]) => option(word, `${word} (${count})`)));
  for (const [name, label] of Object.entries(outcomes)) {
    const count = questions.filter(({ outcome }) => outcome === name).length;
    control("outcome").append(option(name, `${label} (${count})`));
  }

  let waiting;
  control("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 120);
  });
  for (const id of ["outcome", "word", "order"]) control(id).addEventListener("change", search);
  more.addEventListener("click", showMore);
  search();
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
  button.append(make("span", "asked", question.text));
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
  if (passage.title) box.append(make("p", "soft", passage.title));
  box.append(markedPassage(question, passage.text));
  const facts = make("dl");
  const fact = (name, value) => facts.append(make("dt", "", name), make("dd", "", value));
  fact("gold", question.answers.length ? [...new Set(question.answers)].join(" / ") : "no answer");
  fact("best span", question.predicted + (question.abstains ? " (abstained from)" : ""));
  fact("no-answer score", `${question.no_answer_score.toFixed(3)}, `
    + `probability of no answer ${question.no_answer_probability.toFixed(3)}`);
  fact("probability", `${question.answer_probability.toFixed(3)} that the best span is right`);
  fact("windows", String(question.windows));
  fact("id", question.id);
  box.append(facts);
  return box;
}

/* Cuts a passage where a span begins or ends. Spans count code points, as Python does. */
function markedPassage(question, text) {
  const characters = Array.from(text);
  const kinds = { gold: question.gold, predicted: [question.span] };
  const cuts = new Set([0, characters.length]);
  Object.values(kinds).flat().forEach(([start, end]) => cuts.add(start).add(end));
  const places = [...cuts].sort((a, b) => a - b);
  const element = make("p", "passage");
  places.slice(1).forEach((end, number) => {
    const start = places[number];
    const inside = Object.keys(kinds).filter((kind) =>
      kinds[kind].some(([first, last]) => first <= start && end <= last));
    const piece = characters.slice(start, end).join("");
    element.append(inside.length ? make("mark", inside.join(" "), piece) : piece);
  });
  return element;
}

if (document.getElementById("questions")) browse();
drawFigures();
