"use strict";

const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  // Never as markup: whatever a data set holds stays text.
  if (text !== undefined) element.textContent = text;
  return element;
};

/* Cuts a passage where a span begins or ends. Spans count code points, as Python does. */
function markedPassage(kinds, characters) {
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
