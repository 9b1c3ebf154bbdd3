// The charts over time, which all have the same margins, and the bars of the present step.
"use strict";

const DECIBELS = 70; // from the loudest bin of a spectrogram to the darkest

// Magma of Matplotlib (CC0), which grows evenly brighter, also to eyes that see fewer colours.
const MAGMA = [
  "#000004",
  "#180f3d",
  "#440f76",
  "#721f81",
  "#9e2f7f",
  "#cd4071",
  "#f1605d",
  "#fd9668",
  "#feca8d",
  "#fcfdbf",
];
const CUES = {
  ipd: "IPD (rad)",
  sin_ipd: "sin IPD",
  cos_ipd: "cos IPD",
  ild: "ILD (dB)",
  volume: "volume (linear)",
  log_volume: "log vol. (20 dB)",
};
const REWARDS = {
  found: "--sounding",
  all_found: "--source-2",
  progress: "--agent",
  proximity: "--source-1",
  walk: "--right-ear",
  step: "--found",
  turn: "--source-3",
  touched: "--distractor",
};
// Lines may lie on each other.
const DASHES = ["solid", "dash", "dot", "dashdot"];
// What comes only now and then, and is worth more than all else.
const RARE = ["found", "all_found", "touched"];

function drawCharts() {
  drawMap();
  drawValues();
  drawTracks();
  shown.moment = -1;
  show();
}

function trackMargin() {
  return { l: isNarrow.matches ? 66 : 92, r: 12, t: 8, b: 38, autoexpand: false };
}

// Which part of the episode the charts show, and where: they all have the same margins.
function setAxis(from = 0) {
  const { l, r } = trackMargin();
  const [low, high] = shown.span ? [from, from + shown.span] : [0, shown.duration];
  const width = $("tracks").clientWidth - l - r;
  shown.axis = { from: low, to: high, left: l, scale: width / (high - low) };
}

function drawTracks() {
  setAxis(shown.axis?.from);
  const tracks = [
    stepsTrack(),
    rewardsTrack(),
    outlineTrack(),
    spectrogramTrack(),
    ...(shown.separated ? shown.separated.masks.map(sourceTrack) : []),
    ...(shown.separated?.cues.length ? [cuesTrack()] : []),
    ...(shown.values ? [valuesTrack()] : []),
  ];
  for (const old of document.querySelectorAll("#tracks .track")) {
    if (!tracks.some((track) => `track-${track.id}` === old.id)) {
      Plotly.purge(old.querySelector(".plot"));
      old.remove();
    }
  }
  for (const track of tracks) drawTrack(track);
}

function drawTrack({ id, title, about, legend = [], sound, data, height, axes, anchor = "y", more = {} }) {
  const section =
    $(`track-${id}`) ??
    element(
      "section",
      { id: `track-${id}`, className: "track" },
      element("div", { className: "track-head" }),
      element("div", { className: "plot", id: `plot-${id}` }),
    );
  const plot = section.querySelector(".plot");
  const head = [element("h4", { textContent: title })];
  if (sound !== undefined) {
    const button = element("button", { type: "button", className: "small", textContent: "Listen" });
    button.dataset.sound = sound;
    button.setAttribute("aria-label", `Listen to ${shown.sounds[sound].name.toLowerCase()} alone`);
    button.setAttribute("aria-pressed", String(shown.sound === sound));
    button.addEventListener("click", () => listenTo(shown.sound === sound ? 0 : sound));
    head.push(button);
  }
  head.push(element("ul", { className: "legend" }, ...legend));
  section.querySelector(".track-head").replaceChildren(...head);
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", about);
  $("tracks").append(section);
  const margin = trackMargin();
  const styled = Object.entries(axes).map(([name, axis]) => [
    name,
    { ...axisStyle(), ...axis, title: axisTitle(axis.title) },
  ]);
  const layout = {
    width: $("tracks").clientWidth,
    height: height + margin.t + margin.b,
    margin,
    showlegend: false,
    dragmode: false,
    hovermode: "closest",
    hoverlabel: hoverLabel(),
    font: { family: FONT, size: isNarrow.matches ? 10 : 11, color: colour("--faint") },
    paper_bgcolor: "rgba(0, 0, 0, 0)",
    plot_bgcolor: "rgba(0, 0, 0, 0)",
    xaxis: {
      ...axisStyle(),
      anchor,
      range: [shown.axis.from, shown.axis.to],
      title: axisTitle("time (s)", 2),
      nticks: isNarrow.matches ? 6 : 12,
    },
    ...Object.fromEntries(styled),
    ...more,
  };
  Plotly.react(plot, data, layout, PLOTLY);
}

function axisStyle() {
  return {
    fixedrange: true,
    zeroline: false,
    ticks: "",
    gridcolor: colour("--line"),
    color: colour("--faint"),
    automargin: false,
  };
}

function hoverLabel() {
  return { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } };
}

function axisTitle(text, standoff = 6) {
  return { text, standoff, font: { size: isNarrow.matches ? 10 : 11 } };
}

// Lines that keep each number for a whole moment, from the given moment on.
function stairs(numbers, first = 0) {
  return {
    x: upTo(numbers.length + 1).map((index) => (index + first) * shown.seconds),
    y: [...numbers, last(numbers)],
    type: "scatter",
    mode: "lines",
    line: { shape: "hv" },
  };
}

// Whether a step has but a few pixels.
function isDense() {
  return shown.seconds * shown.axis.scale < 8;
}

function middles(count, first = 0) {
  return upTo(count).map((index) => (index + first + 0.5) * shown.seconds);
}

// From the ground of a chart to a colour.
function ramp(to) {
  return [
    [0, colour("--soft")],
    [1, to],
  ];
}

function scaleLegend(low, high, colours) {
  const bar = element("span");
  bar.style.background = `linear-gradient(to right, ${colours.map(([at, each]) => `${each} ${100 * at}%`).join(", ")})`;
  return element("li", { className: "scale" }, low, bar, high);
}

function stepsTrack() {
  const { actions, events } = shown;
  const names = actions.discrete ? (actions.names.length ? actions.names : [...new Set(actions.words)]) : [];
  const rowOf = (index) =>
    names.length - 1 - (actions.names.length ? actions.taken[index] : names.indexOf(actions.words[index]));
  const top = actions.discrete ? names.length : 1.5;
  const chosen = actions.discrete
    ? [
        {
          type: "bar",
          orientation: "h",
          base: actions.taken.map((_, index) => (index + 1) * shown.seconds),
          x: actions.taken.map(() => shown.seconds),
          y: actions.taken.map((_, index) => rowOf(index)),
          width: 0.72,
          marker: { color: colour("--agent"), line: { color: colour("--card"), width: isDense() ? 0 : 1 } },
          hovertext: actions.words.map((word, index) => `step ${index + 1}: ${plain(word)}`),
          hoverinfo: "text",
        },
      ]
    : ["--agent", "--source-2"].map((name, axis) => ({
        ...stairs(
          actions.taken.map((action) => action[axis]),
          1,
        ),
        line: { shape: "hv", color: colour(name), width: 2, dash: axis ? "dot" : "solid" },
        hovertext: [...actions.words, last(actions.words)].map(plain),
        hoverinfo: "text",
      }));
  const places = events.map((event) => (event.moment + 0.5) * shown.seconds);
  const marks = {
    type: "scatter",
    mode: "markers+text",
    x: places,
    y: events.map(() => top),
    ...besides(
      places,
      events.map(({ what, kind }) => [`${what} ${kind}`, kind]),
    ),
    textfont: { color: colour("--ink") },
    cliponaxis: false,
    hoverinfo: "text",
    hovertext: events.map((event) => `step ${event.moment}: ${event.what} ${plain(event.kind)}`),
    marker: {
      symbol: events.map((event) => (event.what === "found" ? "star" : "x")),
      size: 12,
      color: events.map((event) => colour(event.what === "found" ? "--sounding" : "--distractor")),
    },
  };
  const discreteAxis = {
    tickvals: [...names.keys()],
    ticktext: [...names].reverse().map(plain),
    range: [-0.6, names.length + 0.5],
    title: "action",
  };
  const continuousAxis = { range: [-1.15, 1.9], tickvals: [-1, 0, 1], title: "share of a whole" };
  return {
    id: "steps",
    title: "Steps",
    about: "Which action was taken in each step, and where something was found or touched",
    legend: actions.discrete
      ? []
      : [
          legendItem(colour("--agent"), `${actions.names[0] ?? "first"} (+ forward)`, "line"),
          legendItem(colour("--source-2"), `${actions.names[1] ?? "second"} (+ left)`, "line"),
        ],
    height: actions.discrete ? 20 * (names.length + 1) : 110,
    data: [...chosen, marks],
    axes: { yaxis: { showgrid: !actions.discrete, ...(actions.discrete ? discreteAxis : continuousAxis) } },
  };
}

// Texts to the right or to the left of marks at some times, the longer or the shorter of two, wherever there is room.
function besides(times, texts) {
  const starts = times.map((time) => time * shown.axis.scale); // px
  let taken = -Infinity;
  const chosen = starts.map((start, index) => {
    const end = Math.min((starts[index + 1] ?? Infinity) - 10, shown.duration * shown.axis.scale + 8);
    const choices = texts[index].flatMap((text) =>
      ["right", "left"].map((side) => ({ text, side, needed: 7 * text.length + 14 })),
    );
    const fits = ({ side, needed }) => (side === "right" ? start + needed <= end : start - needed >= taken);
    const choice = choices.find(fits) ?? { text: "", side: "right", needed: 0 };
    taken = start + (choice.side === "right" ? Math.max(choice.needed, 10) : 10);
    return choice;
  });
  return { text: chosen.map(({ text }) => plain(text)), textposition: chosen.map(({ side }) => `middle ${side}`) };
}

// The return so far and, below it, the terms. What is earned or lost only now and then is so much more than all else
// that its bars are cut off.
function rewardsTrack() {
  const names = Object.keys(shown.rewards);
  const fill = (name, index) => colour(REWARDS[name] ?? `--source-${(index % 4) + 1}`);
  const steps = upTo(shown.moments - 1);
  const often = names.filter((name) => !RARE.includes(name));
  const sums = (of, sign) =>
    steps.map((step) => of.reduce((sum, name) => sum + Math.max(sign * shown.rewards[name][step], 0), 0));
  const [low, high] = [-1, 1].map((sign) => 1.15 * sign * Math.max(...sums(often.length ? often : names, sign), 0.01));
  const isCut = [-1, 1].some((sign) => Math.max(...sums(names, sign), 0) > Math.abs(sign < 0 ? low : high));
  let sum = 0;
  const returns = [
    0,
    ...steps.map((step) => (sum += names.reduce((total, name) => total + shown.rewards[name][step], 0))),
  ];
  return {
    id: "rewards",
    title: "Rewards",
    about: "The reward of each step, by its terms, and their sum so far",
    legend: [
      ...names.map((name, index) => legendItem(fill(name, index), name.replaceAll("_", " "))),
      ...(isCut ? [element("li", { textContent: "(long bars are cut off)" })] : []),
    ],
    height: 130,
    data: [
      ...(names.length ? [] : [{ type: "bar", x: [], y: [] }]), // or there would be no such axis
      ...names.map((name, index) => ({
        type: "bar",
        x: middles(steps.length, 1),
        y: shown.rewards[name],
        width: 0.85 * shown.seconds,
        marker: { color: fill(name, index) },
        hovertext: shown.rewards[name].map((term, step) => `step ${step + 1}: ${plain(name)} ${signed(term)}`),
        hoverinfo: "text",
      })),
      {
        ...stairs(returns),
        yaxis: "y2",
        line: { shape: "hv", color: colour("--ink"), width: 1.5 },
        hovertemplate: "return so far %{y:.3f}<extra></extra>",
      },
    ],
    axes: {
      yaxis: {
        title: "reward",
        domain: [0, 0.6],
        range: [low, high],
        zeroline: true,
        zerolinecolor: colour("--other"),
        nticks: 5,
      },
      yaxis2: { title: "return", domain: [0.7, 1], nticks: 4 },
    },
    more: { barmode: "relative" },
  };
}

function outlineTrack() {
  const { left, right, seconds, peak } = shown.outline;
  const limit = peak > 0 ? 1.08 * peak : 1;
  const side = (bdata, sign, name) => ({
    type: "scatter",
    mode: "lines",
    x0: seconds / 2,
    dx: seconds,
    y: sign > 0 ? bdata : negated(bdata),
    fill: "tozeroy",
    fillcolor: faded(colour(`--${name}`), 0.65),
    line: { width: 1, color: colour(`--${name}-line`) },
    hoverinfo: "skip",
  });
  const marks = ticks(limit);
  return {
    id: "outline",
    title: "What the ears heard",
    about: "The peaks of the sound at the left ear, above, and at the right ear, below",
    legend: [
      legendItem(colour("--left-ear"), "left ear, above"),
      legendItem(colour("--right-ear"), "right ear, below"),
    ],
    height: 100,
    data: [side(left, 1, "left-ear"), side(right, -1, "right-ear")],
    axes: {
      yaxis: {
        title: isNarrow.matches ? "peak (of 1)" : "peak (full scale: 1)",
        range: [-limit, limit],
        tickvals: marks,
        ticktext: marks.map((mark) => String(Math.abs(mark))),
        zeroline: true,
        zerolinecolor: colour("--other"),
      },
    },
  };
}

function negated({ bdata, shape }) {
  const numbers = new Float32Array(bytes(bdata).buffer).map((number) => -number);
  return shape === "0" ? [] : [...numbers];
}

// Round numbers to both sides of 0.
function ticks(limit) {
  const power = 10 ** Math.floor(Math.log10(limit));
  const step = power * [5, 2, 1, 0.5].find((factor) => factor * power <= limit);
  return [-step, 0, step].map((mark) => Number(mark.toPrecision(3)));
}

function spectrogramTrack() {
  const { levels, hertz, seconds, loudest } = shown.spectrogram;
  const colours = MAGMA.map((each, index) => [index / (MAGMA.length - 1), each]);
  return {
    id: "spectrogram",
    title: "Spectrogram",
    about: "The levels of what both ears heard, by time and frequency",
    legend: [scaleLegend(decibels(loudest - DECIBELS), decibels(loudest), colours)],
    height: 150,
    data: [
      {
        type: "heatmap",
        z: levels,
        x0: 0,
        dx: seconds,
        y0: 0,
        dy: hertz / 1000,
        zmin: loudest - DECIBELS,
        zmax: loudest,
        colorscale: colours,
        showscale: false,
        hovertemplate: "%{x:.2f} s, %{y:.2f} kHz: %{z} dB<extra></extra>",
      },
    ],
    axes: { yaxis: frequencyAxis() },
  };
}

function frequencyAxis() {
  return {
    title: isNarrow.matches ? "freq. (kHz)" : "frequency (kHz)",
    range: [0, shown.hertz / 2000],
    showgrid: false,
    nticks: 5,
  };
}

// A separated source: its share of the mixture, or its own levels at the scale of the mixture's spectrogram.
function sourceTrack(mask, index) {
  const spectrogram = shown.separated.spectrograms[index];
  const isMask = !spectrogram || $("source-view").value === "mask";
  const { hertz, seconds } = isMask ? shown.separated : spectrogram;
  const { loudest } = shown.spectrogram;
  const colours = ramp(sourceColour(index));
  const sound = shown.sounds.findIndex((each) => each.kind === "separated");
  return {
    id: `source-${index}`,
    title: `Separated source ${index + 1}`,
    about: isMask
      ? `The mask of separated source ${index + 1}: its share in each bin of time and frequency`
      : `The levels of separated source ${index + 1}, by time and frequency`,
    legend: [
      isMask
        ? scaleLegend("mask 0 %", "100 %", colours)
        : scaleLegend(decibels(loudest - DECIBELS), decibels(loudest), colours),
    ],
    sound: sound < 0 ? undefined : sound + index,
    height: 110,
    data: [
      {
        type: "heatmap",
        z: isMask ? mask : spectrogram.levels,
        x0: isMask ? seconds / 2 : 0,
        dx: seconds,
        y0: 0,
        dy: hertz / 1000,
        zmin: isMask ? 0 : loudest - DECIBELS,
        zmax: isMask ? 100 : loudest,
        colorscale: colours,
        showscale: false,
        hovertemplate: `%{x:.2f} s, %{y:.2f} kHz: %{z} ${isMask ? "%" : "dB"}<extra></extra>`,
      },
    ],
    axes: { yaxis: frequencyAxis() },
  };
}

function cuesTrack() {
  const { cues, cue_names: names } = shown.separated;
  // The weighted cues have the ILD in units of 10 dB.
  const label = (name) => (name === "ild" && names.includes("sin_ipd") ? "ILD (10 dB)" : (CUES[name] ?? name));
  const gap = 0.05;
  const share = (1 + gap) / cues.length;
  const axes = cues.map((_, index) => [
    `yaxis${index ? index + 1 : ""}`,
    {
      title: plain(label(names[index] ?? `cue ${index}`)),
      domain: [Math.max(1 - share * (index + 1) + gap, 0), 1 - share * index],
      nticks: 4,
      zeroline: true,
      zerolinecolor: colour("--other"),
    },
  ]);
  return {
    id: "cues",
    title: "Cues of each separated source",
    about: "The cues of each separated source in each step",
    legend: cues[0].map((_, index) => legendItem(sourceColour(index), `source ${index + 1}`, "line")),
    height: 84 * cues.length,
    data: cues.flatMap((sources, cue) =>
      sources.map((numbers, index) => ({
        ...stairs(numbers),
        yaxis: `y${cue ? cue + 1 : ""}`,
        line: { shape: "hv", color: sourceColour(index), width: 1.8, dash: DASHES[index % DASHES.length] },
        name: `source ${index + 1}`,
        hovertemplate: `source ${index + 1}: %{y:.2f}<extra></extra>`,
      })),
    ),
    axes: Object.fromEntries(axes),
    anchor: last(axes)[0].replace("axis", ""),
  };
}

function valuesTrack() {
  const { kind, names, values } = shown.values;
  if (kind === "action" || !shown.actions.discrete) return continuousValuesTrack();
  const isWorth = kind === "Q-value";
  const best = upTo(shown.moments).map((moment) => Math.max(...values.map((each) => each[moment])));
  const numbers = isWorth ? values.map((each) => each.map((value, moment) => value - best[moment])) : values;
  const low = isWorth ? Math.min(...numbers.flat()) : 0;
  const colours = ramp(colour("--agent"));
  const rowNames = names.length ? names : values.map((_, index) => `action ${index}`);
  const chosen = {
    type: "scatter",
    mode: "markers",
    x: middles(shown.actions.taken.length),
    y: shown.actions.taken.map((action) => values.length - 1 - action),
    marker: { size: isDense() ? 4 : 7, color: colour("--sounding"), line: { color: colour("--card"), width: 1 } },
    hoverinfo: "skip",
  };
  const heat = {
    type: "heatmap",
    x0: shown.seconds / 2,
    dx: shown.seconds,
    z: [...numbers].reverse(),
    customdata: [...values].reverse(),
    zmin: low,
    zmax: isWorth ? 0 : 1,
    colorscale: colours,
    showscale: false,
    hovertemplate: `${kind} %{customdata:.3f}<extra></extra>`,
    ...(isDense() ? {} : { xgap: 1, ygap: 1 }),
  };
  const rowAxis = {
    tickvals: [...rowNames.keys()],
    ticktext: [...rowNames].reverse().map(plain),
    range: [-0.5, rowNames.length - 0.5],
    showgrid: false,
    title: "action",
  };
  const line = { ...stairs(best), yaxis: "y2", line: { shape: "hv", color: colour("--agent"), width: 1.8 } };
  return {
    id: "values",
    title: isWorth ? "Q-values" : "Probabilities of the actions",
    about: `The ${kind} of each action in each step, and the action that was chosen then`,
    legend: [
      isWorth
        ? scaleLegend(`${signed(low, 2)} below the best`, "the best", colours)
        : scaleLegend("0 %", "100 %", colours),
      legendItem(colour("--sounding"), "chosen next", ""),
    ],
    height: 22 * rowNames.length + (isWorth ? 70 : 0),
    data: isWorth ? [heat, chosen, { ...line, hovertemplate: "best Q-value %{y:.3f}<extra></extra>" }] : [heat, chosen],
    axes: isWorth
      ? { yaxis: { ...rowAxis, domain: [0, 0.6] }, yaxis2: { title: "best Q", domain: [0.68, 1], nticks: 4 } }
      : { yaxis: rowAxis },
  };
}

function continuousValuesTrack() {
  const { kind, names, values } = shown.values;
  return {
    id: "values",
    title: kind === "action" ? "Action that the policy puts out" : `${kind} over the steps`,
    about: `The ${kind} in each step`,
    legend: values.map((_, index) => legendItem(sourceColour(index), names[index] ?? `${index}`, "line")),
    height: 110,
    data: values.map((numbers, index) => ({
      ...stairs(numbers),
      line: { shape: "hv", color: sourceColour(index), width: 1.8, dash: index ? "dot" : "solid" },
      hovertemplate: `${plain(names[index] ?? `${index}`)} %{y:.2f}<extra></extra>`,
    })),
    axes: { yaxis: { title: kind, zeroline: true, zerolinecolor: colour("--other"), nticks: 5 } },
  };
}

// ---- The present step ----------------------------------------------------------------------------------------------

// The bars of what each action is worth in the present step.
function drawValues() {
  const plot = $("now-values");
  plot.hidden = !shown.values;
  if (!shown.values) return;
  const { kind, names, values } = shown.values;
  const all = values.flat();
  const isShare = kind === "probability";
  const low = kind === "action" ? -1 : Math.min(0, ...all);
  const high = kind === "action" || isShare ? 1 : Math.max(0, ...all);
  const room = 0.16 * (high - low || 1); // for the numbers beside the bars
  const titles = { "Q-value": "Q-value", probability: "probability", action: "action (share of a whole)" };
  plot.setAttribute("aria-label", `${kind} of each action in the present step`);
  Plotly.react(
    plot,
    [
      {
        type: "bar",
        orientation: "h",
        x: values.map((each) => each[0]),
        y: [...values.keys()],
        text: values.map((each) => each[0].toFixed(2)),
        textposition: "outside",
        cliponaxis: false,
        textfont: { color: colour("--ink") },
        marker: { color: values.map(() => colour("--other")) },
        hoverinfo: "skip",
      },
    ],
    {
      width: plot.clientWidth,
      height: 26 * values.length + 44,
      margin: { l: 80, r: 12, t: 2, b: 40, autoexpand: false },
      dragmode: false,
      bargap: 0.3,
      font: { family: FONT, size: 11, color: colour("--faint") },
      paper_bgcolor: "rgba(0, 0, 0, 0)",
      plot_bgcolor: "rgba(0, 0, 0, 0)",
      xaxis: {
        ...axisStyle(),
        range: [low < 0 ? low - room : 0, high + room],
        title: axisTitle(titles[kind] ?? kind, 4),
        nticks: 6,
      },
      yaxis: {
        ...axisStyle(),
        autorange: "reversed",
        showgrid: false,
        tickvals: [...values.keys()],
        ticktext: values.map((_, index) => plain(names[index] ?? `action ${index}`)),
      },
    },
    { ...PLOTLY, staticPlot: true },
  );
}

function showValues(moment) {
  if (!shown.values) return;
  const { values } = shown.values;
  const chosen = shown.actions.discrete ? shown.actions.taken[moment] : -1;
  const bar = values.map((_, index) => colour(index === chosen || !shown.actions.discrete ? "--agent" : "--other"));
  const text = values.map((each) => each[moment].toFixed(2));
  Plotly.restyle("now-values", { x: [values.map((each) => each[moment])], text: [text], "marker.color": [bar] }, [0]);
}
