// The page's behaviour: the list of episodes, the player, and what goes in step with it.
//
// The audio element is the clock: whatever is shown is that of its currentTime. Moment m of an episode sounds in
// [m, m + 1) * seconds. Charts (charts.js) are drawn when an episode is chosen; while it plays, only a line over them
// is moved and the few marks on the map (map.js) are restyled.
"use strict";

const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const audio = $("audio");
const worlds = read("worlds");
const isNarrow = matchMedia("(max-width: 700px)");
const isWide = matchMedia("(min-width: 1000px)");
const wantsStillness = matchMedia("(prefers-reduced-motion: reduce)");

const PLOTLY = { displayModeBar: false, doubleClick: false, scrollZoom: false, showTips: false };
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
// As far as a moment's beginning may be missed by rounding, in moments.
const ROUNDING = 1e-3;

let shown = null; // the episode: its content, and how it is drawn now
let frame = 0; // the animation frame that is waited for
let palette = {}; // the colours of the present theme, as far as they were asked for

// ---- Small things ------------------------------------------------------------------------------------------------

function read(id) {
  return JSON.parse($(id).textContent);
}

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const upTo = (count) => Array.from({ length: count }, (_, index) => index);
const last = (list) => list[list.length - 1];
const colour = (name) => (palette[name] ??= getComputedStyle(root).getPropertyValue(name).trim());
const decibels = (level) => `${level < 0 ? "−" : ""}${Math.abs(level)} dB`;
const signed = (number, digits = 3) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(digits)}`;
const sourceColour = (index) => colour(`--source-${(index % 4) + 1}`);
// plotly.js reads some HTML in texts, and none of it may come from a name.
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const faded = (name, share) => {
  const [r, g, b] = name.startsWith("#")
    ? [1, 3, 5].map((start) => parseInt(name.slice(start, start + 2), 16))
    : name.match(/[\d.]+/g);
  return `rgba(${r}, ${g}, ${b}, ${share})`;
};

function momentAt(time) {
  return clamp(Math.floor(time / shown.seconds + ROUNDING), 0, shown.moments - 1);
}

// ---- The list of episodes ----------------------------------------------------------------------------------------

const rows = [...document.querySelectorAll("#list tbody tr")];

const headers = [...document.querySelectorAll("#list thead th")];
const headerOf = (key) => headers.find((header) => header.firstElementChild.dataset.key === key);
const isNumber = (header) => header.classList.contains("number");

function sortRows(key, descending) {
  const chosen = headerOf(key);
  for (const header of headers) header.removeAttribute("aria-sort");
  chosen.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => row.cells[chosen.cellIndex].dataset.value;
  const compare = isNumber(chosen)
    ? (a, b) => value(a) - value(b)
    : (a, b) => value(a).localeCompare(value(b), "en", { numeric: true });
  const ordered = [...rows].sort(
    (a, b) => (descending ? compare(b, a) : compare(a, b)) || a.dataset.index - b.dataset.index,
  );
  rows[0].parentElement.append(...ordered);
  $("sort").value = key;
}

// At first what is most comes first, but names and the order of the episodes go up.
function sortAnew(key) {
  sortRows(key, key !== "index" && isNumber(headerOf(key)));
}

function filterRows() {
  const [agent, outcome] = [$("agent-filter").value, $("outcome-filter").value];
  for (const row of rows) {
    row.hidden = (agent && row.dataset.agent !== agent) || (outcome && row.dataset.outcome !== outcome);
  }
  const left = rows.filter((row) => !row.hidden).length;
  $("count").textContent = left === rows.length ? "" : `${left} of ${rows.length} shown`;
}

for (const header of headers) {
  const button = header.firstElementChild;
  button.addEventListener("click", () => {
    const present = header.getAttribute("aria-sort");
    if (present) sortRows(button.dataset.key, present === "ascending");
    else sortAnew(button.dataset.key);
  });
}
$("sort").addEventListener("change", (event) => sortAnew(event.target.value));
$("agent-filter").addEventListener("change", filterRows);
$("outcome-filter").addEventListener("change", filterRows);
$("list").addEventListener("click", (event) => {
  const row = event.target.closest("tbody tr");
  if (!row || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  choose(Number(row.dataset.index), 0);
  $("stage").scrollIntoView({ behavior: wantsStillness.matches ? "auto" : "smooth", block: "start" });
});

// The episode so many rows further down in the list as it is sorted and filtered.
function chooseBeside(offset) {
  const listed = [...rows[0].parentElement.rows].filter((row) => !row.hidden);
  const place = listed.indexOf(rows[shown.index]);
  const row = listed[place < 0 ? 0 : clamp(place + offset, 0, listed.length - 1)];
  if (row) choose(Number(row.dataset.index), 0);
}

$("previous-episode").addEventListener("click", () => chooseBeside(-1));
$("next-episode").addEventListener("click", () => chooseBeside(1));

// ---- The episode -------------------------------------------------------------------------------------------------

function choose(index, step) {
  if (shown?.index !== index) {
    const old = shown;
    const content = read(`episode-${index}`);
    shown = {
      ...content,
      index,
      urls: {},
      duration: content.moments * content.seconds,
      sound: 0,
      span: null,
      moment: -1,
    };
    audio.pause();
    audio.removeAttribute("src");
    audio.load();
    for (const url of Object.values(old?.urls ?? {})) url.then((each) => URL.revokeObjectURL(each));
    for (const row of rows) row.setAttribute("aria-current", String(Number(row.dataset.index) === index));
    describe(rows[index]);
    listenTo(0);
    drawCharts();
  }
  goTo(step);
}

function describe(row) {
  const cell = (name) => row.querySelector(`[data-name="${name}"]`).textContent;
  const seed = cell("Seed");
  const facts = [
    row.dataset.agent,
    row.dataset.outcome,
    `found ${cell("Found")}`,
    `SPL ${cell("SPL")}`,
    `SNA ${cell("SNA")}`,
    `${cell("Actions")} actions`,
    `${cell("Metres")} m`,
    ...(seed ? [`seed ${seed}`] : []),
  ];
  $("stage-title").textContent = row.querySelector("a").textContent;
  $("stage-facts").textContent = facts.join(" · ");
  $("world").textContent = worlds[shown.world];
  $("listen").replaceChildren(
    ...shown.sounds.map((sound, index) => element("option", { value: index, textContent: sound.name })),
  );
  $("seek").max = shown.duration;
  $("source-view").parentElement.hidden = !shown.separated?.spectrograms.length;
  for (const button of document.querySelectorAll("[data-window]")) {
    button.disabled = Number(button.dataset.window) >= shown.duration;
    button.setAttribute("aria-pressed", String(button.dataset.window === ""));
  }
  const missing = [
    ...(shown.separated ? [] : ["separated sources and cues"]),
    ...(shown.values ? [] : ["values of the actions"]),
  ];
  $("absent").textContent = missing.length
    ? `Not shown: ${missing.join(", ")}, which this agent does not tell of.`
    : "";
}

function showHash() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const [index, step] = ["episode", "step"].map((name) => Math.trunc(Number(wanted.get(name))) || 0);
  choose(clamp(index, 0, rows.length - 1), step);
}

function noteHash() {
  const hash = `#episode=${shown.index}&step=${momentAt(audio.currentTime)}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

// ---- The player --------------------------------------------------------------------------------------------------

function bytes(base64) {
  const text = atob(base64);
  const numbers = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) numbers[index] = text.charCodeAt(index);
  return numbers;
}

// What the player is given in place of FLAC. Browsers decode FLAC well, but Chromium's player cannot always seek in it
// ("demuxer seek failed").
async function playable(flac) {
  const context = new OfflineAudioContext(1, 1, clamp(shown.hertz, 8000, 96000));
  return URL.createObjectURL(wave(await context.decodeAudioData(bytes(flac).buffer)));
}

// A sound as a WAV file of 16 bits.
function wave(sound) {
  const { length, sampleRate, numberOfChannels: count } = sound;
  const samples = new DataView(new ArrayBuffer(2 * count * length));
  for (const channel of upTo(count)) {
    sound.getChannelData(channel).forEach((each, index) => {
      samples.setInt16(
        2 * (count * index + channel),
        Math.round(clamp(each, -1, 1) * (each > 0 ? 32767 : 32768)),
        true,
      );
    });
  }
  const header = new DataView(new ArrayBuffer(44));
  const write = (at, text) => [...text].forEach((letter, index) => header.setUint8(at + index, letter.charCodeAt(0)));
  write(0, "RIFF");
  header.setUint32(4, 36 + samples.byteLength, true);
  write(8, "WAVEfmt ");
  header.setUint32(16, 16, true); // bytes of what follows up to "data"
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, count, true);
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, 2 * count * sampleRate, true); // bytes a second
  header.setUint16(32, 2 * count, true); // bytes of a sample of all channels
  header.setUint16(34, 16, true); // bits
  write(36, "data");
  header.setUint32(40, samples.byteLength, true);
  return new Blob([header, samples], { type: "audio/wav" });
}

// The sounds of an episode have the same length; whoever changes between them goes on where they are.
async function listenTo(index) {
  const episode = shown;
  episode.sound = index;
  $("listen").value = index;
  for (const button of document.querySelectorAll("[data-sound]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.sound) === index));
  }
  const url = await (episode.urls[index] ??= playable(episode.sounds[index].flac).catch(complain));
  if (!url || shown !== episode || episode.sound !== index) return; // or another one was chosen in the meantime
  const { currentTime, paused } = audio;
  audio.src = url;
  audio.currentTime = currentTime;
  setSpeed();
  if (!paused) play();
}

function complain() {
  $("trouble").textContent = "This browser cannot play the sound.";
}

function setSpeed() {
  audio.playbackRate = Number($("speed").value);
}

function seek(time) {
  audio.currentTime = clamp(time, 0, shown.duration);
  show();
}

function goTo(step) {
  seek(clamp(step, 0, shown.moments - 1) * shown.seconds);
}

function playOrPause() {
  if (audio.paused) play();
  else audio.pause();
}

// Whoever pauses at once breaks off what play() has promised, which is no error.
function play() {
  audio.play().catch((error) => {
    if (error.name !== "AbortError") throw error;
  });
}

function keepShowing(now) {
  show(now);
  frame = audio.paused ? 0 : requestAnimationFrame(keepShowing);
}

function showState() {
  const isPlaying = !audio.paused;
  $("play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
  $("play")
    .querySelector("use")
    .setAttribute("href", isPlaying ? "#icon-pause" : "#icon-play");
  if (isPlaying && !frame) frame = requestAnimationFrame(keepShowing);
  if (!isPlaying) show();
}

for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, showState);
audio.addEventListener("seeked", () => show());
audio.addEventListener("error", complain);
$("play").addEventListener("click", playOrPause);
$("previous").addEventListener("click", () => goTo(momentAt(audio.currentTime) - 1));
$("next").addEventListener("click", () => goTo(momentAt(audio.currentTime) + 1));
$("seek").addEventListener("input", (event) => seek(Number(event.target.value)));
$("listen").addEventListener("change", (event) => listenTo(Number(event.target.value)));
$("speed").addEventListener("change", setSpeed);
$("volume").addEventListener("input", (event) => (audio.volume = Number(event.target.value)));

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches("select, #volume")) return;
  if (key === " " && target.matches("button, a, summary")) return; // which is what the key presses there
  const act = {
    " ": playOrPause,
    ArrowLeft: () => goTo(momentAt(audio.currentTime) - 1),
    ArrowRight: () => goTo(momentAt(audio.currentTime) + 1),
  }[key];
  if (!act) return;
  event.preventDefault();
  act();
});

// ---- What is shown now -------------------------------------------------------------------------------------------

function show(now = 0) {
  const time = Math.min(audio.currentTime, shown.duration);
  const moment = momentAt(time);
  const isNew = moment !== shown.moment;
  shown.moment = moment;
  $("seek").value = time;
  $("clock-time").textContent = `${time.toFixed(1)} s of ${shown.duration.toFixed(1)} s`;
  if (isNew) showStep(moment);
  followWindow(time);
  showCursor(time, moment);
  showMap(time, moment, isNew, now);
  if (audio.paused) noteHash();
}

function showStep(moment) {
  const { plan, actions, rewards } = shown;
  const step = `Step ${moment} of ${shown.moments - 1}`;
  $("clock-step").textContent = step;
  $("now-title").textContent = step;
  $("seek").setAttribute("aria-valuetext", `${step}, ${(moment * shown.seconds).toFixed(1)} seconds`);
  const targets = plan.sources.filter((source) => source.target).length;
  const found = plan.sources.filter((source, index) => source.target && !plan.on[moment][index]).length;
  const nearest = plan.nearest[moment];
  const touched = targets < plan.sources.length ? `, touched ${plan.touched[moment]}` : "";
  $("now-found").textContent = `${found} of ${targets}${touched}`;
  $("now-walked").textContent = `${plan.walked[moment].toFixed(1)} m`;
  $("now-nearest").textContent = nearest === null ? "none left" : `${nearest.toFixed(1)} m away`;
  $("now-action").textContent = moment ? actions.words[moment - 1] : "none yet";
  const terms = Object.entries(rewards).map(([name, each]) => [name, each[moment - 1] ?? 0]);
  const sum = terms.reduce((total, [, term]) => total + term, 0);
  const parts = terms.filter(([, term]) => term).map(([name, term]) => [name.replaceAll("_", " "), signed(term)]);
  $("now-reward").textContent = moment ? signed(sum) : "none yet";
  $("now-terms").textContent = parts.map((part) => (parts.length > 1 ? part.join(" ") : part[0])).join(", ");
  $("now-next").textContent = actions.words[moment] ?? "none, this is the end";
  showValues(moment);
}

function showCursor(time, moment) {
  const { left, scale, from, to } = shown.axis;
  const at = (seconds) => left + (clamp(seconds, from, to) - from) * scale;
  const start = at(moment * shown.seconds);
  $("cursor").style.transform = `translateX(${at(time)}px)`;
  $("moment").style.transform = `translateX(${start}px)`;
  $("moment").style.width = `${at((moment + 1) * shown.seconds) - start}px`;
}

// Of a part of the episode, turn the page when the cursor leaves it.
function followWindow(time) {
  const { from, to } = shown.axis;
  if (!shown.span || (time >= from && (time < to || to >= shown.duration))) return;
  showSpan(clamp(time - (time < from ? shown.span / 2 : shown.span / 10), 0, shown.duration - shown.span));
}

function showSpan(from) {
  setAxis(from);
  for (const plot of document.querySelectorAll("#tracks .plot")) {
    Plotly.relayout(plot, { "xaxis.range": [shown.axis.from, shown.axis.to] });
  }
}

for (const button of document.querySelectorAll("[data-window]")) {
  button.addEventListener("click", () => {
    for (const each of document.querySelectorAll("[data-window]"))
      each.setAttribute("aria-pressed", String(each === button));
    shown.span = Number(button.dataset.window) || null;
    setAxis(shown.span ? clamp(audio.currentTime - shown.span / 2, 0, shown.duration - shown.span) : 0);
    drawTracks();
    show();
  });
}

$("source-view").addEventListener("change", drawCharts);

// ---- Seeking in the charts ---------------------------------------------------------------------------------------

function timeAt(event) {
  const { from, left, scale } = shown.axis;
  return from + (event.clientX - $("tracks").getBoundingClientRect().left - left) / scale;
}

let isScrubbing = false;
$("tracks").addEventListener("pointerdown", (event) => {
  if (event.button || !event.target.closest(".plot")) return;
  isScrubbing = true;
  // A finger may be about to scroll the page; it seeks when it moves sideways or goes up again.
  if (event.pointerType === "mouse") seek(timeAt(event));
});
addEventListener("pointermove", (event) => isScrubbing && seek(timeAt(event)));
addEventListener("pointerup", (event) => {
  if (isScrubbing) seek(timeAt(event));
  isScrubbing = false;
});
addEventListener("pointercancel", () => (isScrubbing = false));

// ---- The page ----------------------------------------------------------------------------------------------------

function setTheme(theme) {
  root.dataset.theme = theme;
  palette = {};
  drawCharts();
}

$("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) =>
  setTheme(event.matches ? "dark" : "light"),
);

let width = innerWidth;
let waiting = 0;
addEventListener("resize", () => {
  clearTimeout(waiting);
  if (innerWidth === width) return; // as when the address bar of a phone comes and goes
  waiting = setTimeout(() => {
    width = innerWidth;
    drawCharts();
  }, 100);
});
addEventListener("hashchange", showHash);
filterRows();
showHash();
