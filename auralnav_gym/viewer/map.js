// The map: two charts, one over the other. Below are the room, the sources and the way, which change from step to step;
// above is what moves, so that a frame costs no more than a few marks.
"use strict";

const MAP_MARGIN = { l: 46, r: 10, t: 8, b: 42, autoexpand: false };
const HEAD_RADIUS = 10; // px, the least, on the map
const GLIDE = { seconds: 0.2, share: 0.4 }; // how long the agent is on its way, and which share of a moment at most
const FRAME_MS = 30; // from one picture of the map to the next
const RING_SECONDS = 0.9; // from one ring of a sounding source to the next

function drawMap() {
  const { plan } = shown;
  const moment = momentAt(audio.currentTime);
  const [x, y] = bounds();
  const padding = 0.04 * Math.max(x[1] - x[0], y[1] - y[0]);
  const [across, up] = [x, y].map(([low, high]) => high - low + 2 * padding);
  const width = $("map").clientWidth - MAP_MARGIN.l - MAP_MARGIN.r;
  // Beside the charts, what is said of the step is to be seen below it, above the player.
  const most = isWide.matches ? Math.max(innerHeight - 570, 300) : 0.6 * innerHeight + 80;
  const height = Math.min(width * clamp(up / across, 0.4, 1.2), most);
  const scale = Math.min(width / across, height / up); // px per metre, the same to both sides
  shown.scale = scale;
  const axis = ([low, high], size) => ({
    range: [-1, 1].map((side) => (low + high) / 2 + (side * size) / scale / 2),
    fixedrange: true,
    zeroline: false,
    gridcolor: colour("--grid"),
    color: colour("--faint"),
    dtick: [0.5, 1, 2, 5, 10].find((step) => step * scale >= 36) ?? 20,
  });
  const title = (name) => ({ title: { text: `${name} (m)`, standoff: 6, font: { size: 12 } } });
  const [xaxis, yaxis] = [axis(x, width), axis(y, height)];
  const layout = {
    width: $("map").clientWidth,
    height: height + MAP_MARGIN.t + MAP_MARGIN.b,
    margin: MAP_MARGIN,
    showlegend: false,
    hovermode: "closest",
    dragmode: false,
    font: { family: FONT, size: 11, color: colour("--faint") },
    paper_bgcolor: "rgba(0, 0, 0, 0)",
    plot_bgcolor: "rgba(0, 0, 0, 0)",
  };
  const places = placesAt(moment, 1);
  $("map").style.height = `${layout.height}px`;
  Plotly.react(
    "map-room",
    roomTraces(moment, places.sources),
    {
      ...layout,
      plot_bgcolor: colour("--floor"),
      xaxis: { ...xaxis, ...title("x") },
      yaxis: { ...yaxis, ...title("y") },
      shapes: roomShapes(moment, places.sources),
    },
    PLOTLY,
  );
  $("map-room").removeAllListeners("plotly_click");
  $("map-room").on("plotly_click", ({ points }) => points[0].customdata !== undefined && goTo(points[0].customdata));
  const moving = { ...layout, xaxis: { ...xaxis, visible: false }, yaxis: { ...yaxis, visible: false } };
  Plotly.react("map-moving", movingTraces(moment, places, 0), moving, { ...PLOTLY, staticPlot: true });
  drawMapLegend();
}

// The least and the greatest x and y of the room.
function bounds() {
  return [0, 1].map((axis) => {
    const numbers = shown.plan.corners.map((corner) => corner[axis]);
    return [Math.min(...numbers), Math.max(...numbers)];
  });
}

// Where everything is when the agent is so far on its way to where it stands in a moment: from the moment before on
// straight lines, and turning on the shorter way round.
function placesAt(moment, share) {
  const { plan } = shown;
  const before = Math.max(moment - 1, 0);
  const between = (old, now) => old + share * (now - old);
  const turn = plan.heading[moment] - plan.heading[before];
  const back = -(1 - share) * Math.atan2(Math.sin(turn), Math.cos(turn)); // what is still to be turned
  const [x, y] = [between(plan.x[before], plan.x[moment]), between(plan.y[before], plan.y[moment])];
  const ears = plan.ears[moment].map(([earX, earY]) => {
    const [right, up] = [earX - plan.x[moment], earY - plan.y[moment]];
    return [right * Math.cos(back) - up * Math.sin(back) + x, right * Math.sin(back) + up * Math.cos(back) + y];
  });
  const sources = plan.places[moment].map((place, index) =>
    place.map((value, axis) => between(plan.places[before][index][axis], value)),
  );
  return { x, y, heading: plan.heading[moment] + back, ears, sources };
}

function colourOfSource(moment, index) {
  const { on, sources } = shown.plan;
  return colour(!on[moment][index] ? "--found" : sources[index].target ? "--sounding" : "--distractor");
}

// The whole way, the way up to the step before, the sources and the signs on them.
function roomTraces(moment, places) {
  const { plan, actions } = shown;
  const isOn = plan.on[moment];
  const common = { type: "scatter", cliponaxis: false, hoverinfo: "skip", hoverlabel: hoverLabel() };
  const [x, y] = [0, 1].map((axis) => places.map((place) => place[axis]));
  const colours = plan.sources.map((_, index) => colourOfSource(moment, index));
  return [
    {
      ...common,
      mode: "lines+markers",
      x: plan.x,
      y: plan.y,
      customdata: upTo(shown.moments),
      line: { color: colour("--agent"), width: 1, dash: "dot" },
      marker: { color: colour("--agent"), size: 5 },
      opacity: 0.4,
      hoverinfo: "text",
      text: upTo(shown.moments).map((step) => `step ${step}${step ? `: ${plain(actions.words[step - 1])}` : ""}`),
    },
    {
      ...common,
      mode: "lines+markers",
      x: plan.x.slice(0, moment),
      y: plan.y.slice(0, moment),
      line: { color: colour("--agent"), width: 2.5 },
      marker: { color: colour("--agent"), size: 5 },
      opacity: 0.75,
    },
    {
      ...common,
      mode: "markers+text",
      x,
      y,
      ...labels(places),
      textfont: { size: 12, color: colours.map((each, index) => (isOn[index] ? each : colour("--faint"))) },
      marker: { color: colours, size: 18, line: { color: colour("--floor"), width: 2 } },
      hoverinfo: "text",
      hovertext: plan.sources.map(({ name, kind, target }, index) => {
        const what = target ? (isOn[index] ? "to be found" : "found") : "keep out";
        return `${plain(name.startsWith(kind) ? name : `${kind} ${name}`)}: ${what}`;
      }),
    },
    {
      ...common,
      mode: "text",
      x,
      y,
      text: plan.sources.map((source, index) => (source.target ? (isOn[index] ? "" : "✓") : "✕")),
      textfont: { size: 12, color: "#ffffff" },
    },
  ];
}

// The kinds of the sources, below their rings or wherever there is room between the walls.
function labels(places) {
  const [[west, east], [south]] = bounds();
  const sides = places.map(([x, y]) => {
    const [left, right, below] = [x - west, east - x, y - south].map((each) => each * shown.scale); // px
    return [below < 46 ? "top" : "bottom", left < 36 ? "right" : right < 36 ? "left" : "center"];
  });
  return {
    text: shown.plan.sources.map((source, index) => {
      const kind = `<b>${plain(source.kind)}</b>`;
      return sides[index][0] === "top" ? `${kind}<br> ` : ` <br>${kind}`; // a line between the source and its name
    }),
    textposition: sides.map((side) => side.join(" ")),
  };
}

// Discs around the sources, as far as they lie on the floor, and the walls.
function roomShapes(moment, places) {
  const { plan } = shown;
  const discs = places.map(([x, y], index) => {
    const [isOn, fill] = [plan.on[moment][index], colourOfSource(moment, index)];
    return {
      type: "circle",
      x0: x - plan.reach,
      x1: x + plan.reach,
      y0: y - plan.reach,
      y1: y + plan.reach,
      layer: "between",
      fillcolor: faded(fill, isOn ? 0.13 : 0.08),
      line: { color: faded(fill, isOn ? 0.6 : 0.35), width: 1, dash: plan.sources[index].target ? "solid" : "dash" },
    };
  });
  const walls = `M${plan.corners.map((corner) => corner.join(",")).join("L")}Z`;
  const far = 1e4; // beyond every room
  const all = `M${-far},${-far}L${far},${-far}L${far},${far}L${-far},${far}Z`;
  return [
    ...discs,
    { type: "path", path: all + walls, layer: "between", fillcolor: colour("--outside"), line: { width: 0 } },
    { type: "path", path: walls, layer: "between", line: { color: colour("--wall"), width: 4 } },
  ];
}

// The last leg of the way, rings around what sounds, and the agent: nose, head and ears.
function movingTraces(moment, now, phase) {
  const { plan } = shown;
  const before = Math.max(moment - 1, 0);
  const rings = plan.on[moment].flatMap((isOn, index) =>
    isOn ? [0, 1, 2].map((ring) => ({ index, ring: ring + phase })) : [],
  );
  const radius = Math.max(HEAD_RADIUS, plan.radius * shown.scale); // px
  const nose = (1.25 * radius) / shown.scale;
  const ears = now.ears.map((ear, index) => earOnHead(ear, index, now));
  const common = { type: "scatter", cliponaxis: false };
  const edge = { color: colour("--floor"), width: 1.5 };
  return [
    {
      ...common,
      mode: "lines",
      x: [plan.x[before], now.x],
      y: [plan.y[before], now.y],
      line: { color: colour("--agent"), width: 2.5 },
      opacity: 0.75,
    },
    {
      ...common,
      mode: "markers",
      x: rings.map(({ index }) => now.sources[index][0]),
      y: rings.map(({ index }) => now.sources[index][1]),
      marker: {
        symbol: "circle-open",
        size: rings.map(({ ring }) => 20 + 11 * ring),
        opacity: rings.map(({ ring }) => Math.max(0.85 - 0.28 * ring, 0)),
        color: rings.map(({ index }) => colourOfSource(moment, index)),
        line: { width: 1.5 },
      },
    },
    {
      ...common,
      mode: "markers",
      x: [now.x + nose * Math.cos(now.heading)],
      y: [now.y + nose * Math.sin(now.heading)],
      marker: {
        symbol: "triangle-up",
        angle: [90 - (now.heading * 180) / Math.PI],
        size: 1.45 * radius,
        color: colour("--agent"),
        line: edge,
      },
    },
    {
      ...common,
      mode: "markers",
      x: [now.x],
      y: [now.y],
      marker: { color: colour("--agent"), size: 2 * radius, line: edge },
    },
    {
      ...common,
      mode: "markers",
      x: ears.map(([x]) => x),
      y: ears.map(([, y]) => y),
      marker: {
        color: ears.map((_, index) => colour(["--left-ear", "--right-ear"][index] ?? "--floor")),
        size: 9,
        line: { color: colour("--ear-edge"), width: 1 },
      },
    },
  ];
}

// An ear where it is, or on the rim of the head where it would be inside it, as the pictures have it.
function earOnHead([earX, earY], index, { x, y, heading }) {
  const rim = Math.max(shown.plan.radius, HEAD_RADIUS / shown.scale);
  const distance = Math.hypot(earX - x, earY - y);
  if (distance >= rim) return [earX, earY];
  const side = heading + ([Math.PI / 2, -Math.PI / 2][index] ?? 0);
  const [right, up] =
    distance > 1e-6 ? [(earX - x) / distance, (earY - y) / distance] : [Math.cos(side), Math.sin(side)];
  return [x + rim * right, y + rim * up];
}

// The agent glides at the beginning of a moment, and then stands. While nothing plays it stands all the time.
function showMap(time, moment, isNewMoment, now) {
  const isStill = audio.paused || wantsStillness.matches;
  if (!isNewMoment && (isStill ? shown.isStill : now - shown.drawn < FRAME_MS)) return;
  [shown.drawn, shown.isStill] = [now, isStill];
  const glide = Math.min(GLIDE.seconds, GLIDE.share * shown.seconds);
  const share = isStill ? 1 : clamp((time - moment * shown.seconds) / glide, 0, 1);
  const places = placesAt(moment, share * share * (3 - 2 * share));
  restyle("map-moving", movingTraces(moment, places, isStill ? 0 : (time / RING_SECONDS) % 1));
  const isUnderway = share < 1 || shown.share < 1;
  shown.share = share;
  if (isNewMoment || (shown.plan.moving && isUnderway)) {
    restyle("map-room", roomTraces(moment, places.sources), { shapes: roomShapes(moment, places.sources) });
  }
}

function restyle(plot, traces, layout = {}) {
  const each = (get) => traces.map(get);
  const update = {
    x: each((trace) => trace.x),
    y: each((trace) => trace.y),
    text: each((trace) => trace.text),
    hovertext: each((trace) => trace.hovertext),
    textposition: each((trace) => trace.textposition),
    "textfont.color": each((trace) => trace.textfont?.color),
    "marker.angle": each((trace) => trace.marker?.angle),
    "marker.size": each((trace) => trace.marker?.size),
    "marker.opacity": each((trace) => trace.marker?.opacity),
    "marker.color": each((trace) => trace.marker?.color),
  };
  Plotly.update(plot, update, layout, [...traces.keys()]);
}

function drawMapLegend() {
  const { plan } = shown;
  const hasDistractors = plan.sources.some((source) => !source.target);
  const signs = [
    ["--sounding", hasDistractors ? "target" : "sounding", ""],
    ["--found", "found", "✓"],
    ...(hasDistractors ? [["--distractor", "keep out", "✕"]] : []),
    ["--agent", "agent", ""],
    ["--left-ear", "left ear", ""],
    ["--right-ear", "right ear", ""],
  ].map(([name, text, sign]) => legendItem(colour(name), text, "", sign));
  $("map-legend").replaceChildren(...signs, element("li", { textContent: `discs: reach, ${plan.reach} m` }));
}

function legendItem(fill, text, shape = "square", sign = "") {
  const swatch = element("span", { className: `swatch ${shape}`, textContent: sign });
  swatch.style.background = fill;
  return element("li", {}, swatch, text);
}
