const place = (id) => document.getElementById(id);
const percent = (probability) =>
  probability < 0.001 ? "< 0.1 %" : `${(100 * probability).toFixed(probability < 0.1 ? 1 : 0)} %`;
const platt = JSON.parse(place("calibration").textContent);
const slider = place("threshold");
const ownThreshold = slider.value;

let example = null;
let asked = null;
let found = null;
let chosen = 0;

/* At its ends the slider stands for a reader that always abstains, or never. */
function threshold() {
  if (slider.value === slider.max) return Infinity;
  return slider.value === slider.min ? -Infinity : Number(slider.value);
}

function showThreshold() {
  const score = threshold();
  const likely = 1 / (1 + Math.exp(-(platt.slope * score + platt.intercept)));
  place("above").textContent = Number.isFinite(score)
    ? `${score.toFixed(2)}, a probability of ${percent(likely)}`
    : score < 0 ? "any number: always" : "every number: never";
  if (found) showAnswer();
}

function showAnswer() {
  const characters = Array.from(asked.passage);
  const textOf = ([start, end]) => characters.slice(start, end).join("");
  const [best] = found.spans;
  const gold = asked.question === example?.question && asked.passage === example.passage
    ? example.gold : null;
  const abstains = found.no_answer_score > threshold();
  place("decision").replaceChildren(make("b", "", abstains ? "no answer" : textOf(best)));
  if (abstains) place("decision").append(`; the best span would be ${textOf(best)}`);
  place("probabilities").textContent = `${percent(best[2])} that the best span is right, `
    + `${percent(found.no_answer_probability)} that there is no answer `
    + `(no-answer score ${found.no_answer_score.toFixed(2)})`;
  place("gold").textContent = gold && `Gold answer: ${gold.map(textOf).join(" / ") || "none"}.`;
  place("marked").replaceChildren(
    markedPassage({ gold: gold ?? [], predicted: [found.spans[chosen].slice(0, 2)] }, characters));
  place("spans").replaceChildren(...found.spans.map((span, number) => {
    const button = make("button", "row");
    button.type = "button";
    button.setAttribute("aria-pressed", String(number === chosen));
    button.append(make("span", "", textOf(span)), make("span", "numbers", percent(span[2])));
    button.addEventListener("click", () => {
      chosen = number;
      showAnswer();
      place("spans").children[number].firstChild.focus();
    });
    const item = make("li");
    item.append(button);
    return item;
  }));
  place("answer").hidden = false;
  const mark = place("marked").querySelector("mark.predicted");
  // Within the passage alone: the page itself is not to jump.
  place("marked").scrollTop = mark.offsetTop - 100;
}

function say(text) {
  place("said").textContent = text;
}

async function fetched(path, options) {
  const answer = await fetch(path, options).catch(() => null);
  if (!answer) throw new Error("The reader does not answer: was kedro ask ended?");
  const sent = await answer.json().catch(() => ({ error: "It failed; the terminal says why." }));
  if (!answer.ok) throw new Error(sent.error);
  return sent;
}

async function ask(event) {
  event.preventDefault();
  const button = event.submitter ?? place("asking").querySelector("[type=submit]");
  const question = { question: place("question").value, passage: place("passage").value };
  found = null;
  place("answer").hidden = true;
  button.disabled = true;
  say("Reading …");
  try {
    found = await fetched("answer", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question),
    });
    asked = question;
    chosen = 0;
    const cut = found.question_tokens_cut;
    say(cut ? `The question is too long for this reader: its last ${cut} tokens were not read.` : "");
    showAnswer();
  } catch (error) {
    say(error.message);
  } finally {
    button.disabled = false;
  }
}

async function offer() {
  try {
    example = await fetched("example");
    place("passage").value = example.passage;
    place("question").value = example.question;
    place("asking").requestSubmit();
  } catch (error) {
    say(error.message);
  }
}

place("asking").addEventListener("submit", ask);
place("example")?.addEventListener("click", offer);
slider.addEventListener("input", showThreshold);
place("own").addEventListener("click", () => {
  slider.value = ownThreshold;
  showThreshold();
});
showThreshold();
