// Puts what can be explored into the place of the pictures; where that fails, they stay.
const dark = matchMedia("(prefers-color-scheme: dark)"), narrow = matchMedia("(max-width: 34rem)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const textOf = (box) => box.nextElementSibling.textContent;
const lighter = { "#0072B2": "#56b4e9", "rgba(0,114,178,": "rgba(86,180,233,", "#6B7280": "#9ca3af" }; // at night

async function load(name) { // a script that the page carries, compressed
  const packed = new Blob([bytesOf(document.getElementById(name).textContent)]).stream();
  const script = document.createElement("script");
  script.textContent = await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(script);
}

const byFinger = matchMedia("(pointer: coarse)").matches;

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function themed(text) { // a figure with the colors that the page has now
  if (dark.matches) for (const [day, night] of Object.entries(lighter)) text = text.replaceAll(day, night);
  const { data, layout } = JSON.parse(text);
  delete layout.height; // that of its box
  for (const axis of [layout.xaxis, layout.yaxis]) {
    Object.assign(axis, { gridcolor: color("line"), linecolor: color("soft"), tickcolor: color("soft") });
    if (narrow.matches) axis.title.text = axis.title.text.replace(/(.{16,26}?) /g, "$1<br>");
    if (axis.ticktext) axis.ticktext = axis.ticktext.map((label) => shortened(label, narrow.matches ? 18 : 48));
  }
  const clear = "rgba(0,0,0,0)";
  const font = { ...layout.font, color: color("ink"), family: getComputedStyle(document.body).fontFamily };
  Object.assign(layout, {
    font, paper_bgcolor: clear, plot_bgcolor: color("box"),
    hoverlabel: { bgcolor: color("page"), bordercolor: color("soft"), font: { color: color("ink") }, align: "left" },
    modebar: { bgcolor: clear, color: color("soft"), activecolor: color("accent") },
    dragmode: byFinger ? false : "zoom", // a finger has to scroll the page
  });
  return [data, layout];
}

async function plot(box) {
  const text = textOf(box), { height } = JSON.parse(text).layout;
  const draw = () => Plotly.react(box, ...themed(text), {
    responsive: true,
    displaylogo: false,
    displayModeBar: !(byFinger || narrow.matches) && "hover", // where there is little room it would lie on the legend
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  });
  box.style.height = `${height}px`;
  await draw();
  for (const change of [dark, narrow]) change.addEventListener("change", draw);
}

function molecule(box) {
  const spec = JSON.parse(textOf(box)), ends = [0];
  for (const track of spec.tracks) ends.push(ends.at(-1) + track.notes.length);
  const places = new Int16Array(bytesOf(spec.picometers).buffer), size = 3 * spec.elements.length;
  const atomsOf = (frame) => spec.elements.map((elem, i) => {
    const [x, y, z] = places.subarray(frame * size + 3 * i, frame * size + 3 * i + 3);
    return { elem, atom: spec.names[i], x: x / 100, y: y / 100, z: z / 100, serial: i, bonds: spec.bonds[i],
      bondOrder: spec.bonds[i].map(() => 1) };
  });
  const painted = spec.colors ? { colorfunc: (atom) => spec.colors[atom.serial] } : { colorscheme: "Jmol" };
  const make = (tag, more) => Object.assign(document.createElement(tag), more);
  const view = make("div", { className: "view" }), steer = make("div", { className: "steer" });
  const choice = make("select"), play = make("button", { type: "button", textContent: "Play" });
  const slider = make("input", { type: "range", min: 0, ariaLabel: "frame" }), told = make("output");
  box.append(view, steer);
  if (spec.tracks.length > 1) steer.append(choice);
  steer.append(play, slider, told);
  spec.tracks.forEach((track, number) => choice.append(make("option", { value: number, textContent: track.label })));
  const viewer = $3Dmol.createViewer(view, { backgroundColor: color("box"), antialias: true });
  if (!viewer) throw new Error("no WebGL");
  let model, track, timer;
  const show = (frame) => {
    slider.value = frame;
    told.textContent = track.notes[frame];
    model.setFrame(Number(frame), viewer);
    viewer.render();
  };
  const begin = (number) => {
    track = spec.tracks[number];
    viewer.removeAllModels();
    model = viewer.addModel();
    const frames = track.notes.map((_, frame) => atomsOf(ends[number] + frame));
    model.addAtoms(frames[0]);
    frames.forEach((frame) => model.addFrame(frame));
    model.setStyle({}, { stick: { radius: 0.11, ...painted }, sphere: { scale: 0.27, ...painted } });
    model.setStyle({ bonds: 0 }, { sphere: { scale: 0.5, ...painted } });
    slider.max = frames.length - 1;
    slider.hidden = play.hidden = frames.length === 1;
    show(0);
  };
  const stop = () => { clearInterval(timer); timer = undefined; play.textContent = "Play"; };
  play.onclick = () => {
    if (timer) return stop();
    play.textContent = "Stop";
    timer = setInterval(() => show((Number(slider.value) + 1) % track.notes.length), 80);
  };
  slider.oninput = () => { stop(); show(slider.value); };
  choice.onchange = () => { stop(); begin(choice.value); };
  let active = false; // until it is clicked, the wheel scrolls the page
  view.addEventListener("pointerdown", () => { active = true; }, true);
  view.addEventListener("pointerleave", () => { active = false; });
  view.addEventListener("wheel", (event) => { if (!active) event.stopPropagation(); }, true);
  begin(0);
  viewer.zoomTo();
  viewer.zoom(0.85);
  viewer.render();
  dark.addEventListener("change", () => { viewer.setBackgroundColor(color("box")); viewer.render(); });
}

async function explore(kind, script, draw) {
  const boxes = [...document.querySelectorAll(`div.${kind}`)];
  if (!boxes.length) return;
  await load(script);
  for (const box of boxes) {
    const still = box.parentElement.querySelector(".still");
    box.hidden = false;
    try {
      await draw(box);
      if (still) still.hidden = true;
    } catch (error) {
      console.warn(error);
      box.replaceChildren();
      box.hidden = true;
    }
  }
}

explore("plot", "plotly.js", plot)
  .then(() => explore("molecule", "3Dmol.js", molecule))
  .finally(() => { document.documentElement.dataset.explored = "yes"; });
