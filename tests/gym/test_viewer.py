from __future__ import annotations

import base64
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from auralnav_gym import (
    AuralNavEnv,
    MicrophoneArray,
    OracleAgent,
    Polygon,
    Pose,
    RandomAgent,
    Scene,
    ShoeBox,
    Sound,
    Source,
    Wander,
)
from auralnav_gym.recording import Perception, Recorder, Recording, between, play
from auralnav_gym.viewer import write_viewer
from auralnav_gym.viewer.content import spectrogram

pytest.importorskip("jinja2")
pytest.importorskip("plotly")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
RATE = 8000
L_SHAPE = ((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0), (4.0, 8.0), (0.0, 8.0))
# What would do harm, were it not escaped: a tag, the end of a script, an entity, a template, a text of plotly.
NASTY = "</script><img src=x onerror=\"document.title='broken'\"><b>&amp;{{ 7 * 7 }}%{x}"

# The episodes of the page.
HEARING, NASTY_ONE, MOVING, WANDERING, LEFT = range(5)


# ---- Recordings ------------------------------------------------------------------------------------------------------


def perceptions(recording: Recording, sources: int, values: np.ndarray, kind: str, seed: int) -> tuple[Perception, ...]:
    rng = np.random.default_rng(seed)
    names = recording.world.actions.names
    size = recording.audio.shape[-1]
    return tuple(
        Perception(
            sources=(0.2 * rng.standard_normal((sources, size))).astype(np.float32),
            masks=(1.3 * rng.random((sources, 33, 32))).astype(np.float32),
            cues=rng.standard_normal((sources, 4)).astype(np.float32),
            cue_names=("sin_ipd", "cos_ipd", "ild", "log_volume"),
            values=each.astype(np.float32),
            value_names=names,
            value_kind=kind,
            hop=128,
        )
        for each in values
    )


def hearing() -> Recording:
    """Two still sources, two separated ones, Q-values, and every true source alone."""
    env = gym.make("AuralNav-v0", source_audio=True)
    recording = replace(play(env, OracleAgent(), seed=3), agent="hearing", title="one", seed=2**62 + 12345)
    values = np.random.default_rng(0).normal(2, 0.3, (len(recording), 4))
    return replace(recording, perceptions=perceptions(recording, 2, values, "Q-value", seed=1))


def nasty() -> Recording:
    """A target among distractors, one of which is touched, with names that would do harm."""
    noise = 0.05 * np.random.default_rng(0).standard_normal((3, 4001)).astype(np.float32)
    places = [(2.0, 4.0, 1.5), (7.0, 7.0, 1.5), (5.2, 2.0, 1.5)]
    scene = Scene(
        room=ShoeBox((8.0, 8.0, 3.0), rt60=0.3),
        sources=tuple(
            Source(place, Sound(f"{NASTY} {index}", f"<i>{index}</i>", signal), is_target=index == 0)
            for index, (place, signal) in enumerate(zip(places, noise, strict=True))
        ),
        pose=Pose(5.2, 4.2, -math.pi / 2),
    )
    recording = play(AuralNavEnv(num_distractors=2), lambda _: 0, options={"scene": scene})
    return replace(recording, agent=NASTY, title=NASTY)


def moving() -> Recording:
    """Sources that walk about in an L-shaped room, four ears, continuous actions; left before its end."""
    ears = MicrophoneArray([(0.0, 0.09, 0.0), (0.0, -0.09, 0.0), (0.25, 0.0, 0.0), (-0.25, 0.0, 0.0)])
    env = Recorder(
        gym.make(
            "AuralNav-Continuous-v0",
            room=Polygon(L_SHAPE, height=3.0, rt60=0.25, max_order=1),
            source_motion=Wander(speed=1.0),
            listen_seconds=0.3,
            ears=ears,
        )
    )
    env.reset(seed=5)
    agent = RandomAgent(seed=0)
    agent.reset(env)
    for _ in range(6):
        env.step(agent.act(None))
    recording = replace(env.recording, agent="hearing", title="moving")
    actions = np.array([*recording.actions, np.zeros(2)])
    return replace(recording, perceptions=perceptions(recording, 1, actions, "action", seed=2))


def wandering() -> Recording:
    """The longest episode that there is; only the probabilities of its actions are known."""
    recording = play(gym.make("AuralNav-Anechoic-v0"), RandomAgent(seed=1), seed=3)
    nothing, names = Perception.nothing(), recording.world.actions.names
    values = np.random.default_rng(0).dirichlet(np.ones(4), len(recording)).astype(np.float32)
    told = [replace(nothing, values=each, value_names=names, value_kind="probability") for each in values]
    return replace(recording, perceptions=tuple(told))


def left_at_once() -> Recording:
    env = Recorder(gym.make("AuralNav-v0"))
    env.reset(seed=0)
    return env.recording


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [hearing(), nasty(), moving(), wandering(), left_at_once()]


# ---- The page in a browser -------------------------------------------------------------------------------------------


# Keeps what the page gives to its player, which its policy does not let a test read by its address.
KEEP_BLOBS = """
window.blobs = {};
const create = URL.createObjectURL;
URL.createObjectURL = (blob) => {
    const url = create.call(URL, blob);
    blobs[url] = blob;
    return url;
};
"""


@dataclass
class Watched:
    """A page, and all that went wrong in it."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def goes_to(self, episode: int, step: int = 0) -> None:
        """Select a moment by the address."""
        self.page.evaluate("() => document.getElementById('audio').pause()")
        self.page.evaluate("hash => { location.hash = hash }", f"#episode={episode}&step={step}")
        self.page.wait_for_function(
            f"() => document.querySelector('#list [data-index=\"{episode}\"][aria-current=true]')"
        )
        self.waits_for_step(step)
        self.page.wait_for_function("() => document.getElementById('audio').readyState > 1")

    def waits_for_step(self, step: int) -> None:
        self.page.wait_for_function(
            f"() => document.getElementById('clock-step').textContent.startsWith('Step {step} ')"
        )

    def plot(self, name: str) -> list[dict[str, Any]]:
        """What plotly was given for a chart."""
        return self.page.evaluate("id => JSON.parse(JSON.stringify(document.getElementById(id).data))", name)

    def text(self, name: str) -> str:
        return self.page.locator(f"#{name}").inner_text()

    def place_of(self, plot: str, seconds: float) -> tuple[float, float]:
        """Where a chart has a time, by plotly's own account, px in the window."""
        return tuple(
            self.page.evaluate(
                """([id, seconds]) => {
                    const plot = document.getElementById(id);
                    plot.scrollIntoView({ block: "center" }); // the player covers what is at the bottom
                    const { xaxis, yaxis } = plot._fullLayout;
                    const { left, top } = plot.getBoundingClientRect();
                    return [left + xaxis._offset + xaxis.l2p(seconds), top + yaxis._offset + yaxis._length / 2];
                }""",
                [plot, seconds],
            )
        )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def file(recordings: list[Recording], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "episodes.html"
    write_viewer(path, recordings, title=f"Episodes {NASTY}", made_by={"suite": NASTY, "numbers": [1, 2.5]})
    return path


@contextmanager
def opened(browser: Any, file: Path, **context: Any) -> Iterator[Watched]:
    """The page in a window of its own, in which nothing goes wrong."""
    page = browser.new_context(**context).new_page()
    watched = Watched(page)
    page.on("request", lambda request: watched.requests.append(request.url))
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("console", lambda message: message.type in ("error", "warning") and watched.errors.append(message.text))
    page.add_init_script(KEEP_BLOBS)
    page.goto(file.as_uri())
    page.wait_for_selector("#plot-spectrogram .xtick")
    yield watched
    assert watched.errors == []
    assert {url for url in watched.requests if not url.startswith(("blob:null/", "data:"))} == {file.as_uri()}
    page.context.close()


@pytest.fixture(scope="module")
def desk(browser: Any, file: Path) -> Iterator[Watched]:
    with opened(browser, file, color_scheme="light", viewport={"width": 1280, "height": 900}) as watched:
        yield watched


@pytest.fixture(scope="module")
def phone(browser: Any, file: Path) -> Iterator[Watched]:
    with opened(browser, file, color_scheme="dark", viewport={"width": 360, "height": 740}, has_touch=True) as watched:
        yield watched


@pytest.fixture
def page(desk: Watched) -> Watched:
    desk.goes_to(HEARING)
    return desk


def decoded(array: dict[str, Any]) -> np.ndarray:
    """An array of plotly's typed data."""
    numbers = np.frombuffer(base64.b64decode(array["bdata"]), dtype="<" + array["dtype"])
    return numbers.reshape([int(size) for size in array["shape"].split(",")])


def content_of(file: Path, episode: int) -> dict[str, Any]:
    """What the file holds of an episode, by a parser of its own."""
    text = file.read_text(encoding="utf-8")
    start = text.index(">", text.index(f'id="episode-{episode}"')) + 1
    return json.loads(text[start : text.index("</script>", start)])


# ---- The page as a whole ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "episodes"), [("desk", range(5)), ("phone", (HEARING, NASTY_ONE, MOVING))], ids=["desk", "phone"]
)
def test_every_episode_is_drawn_and_fits(request: pytest.FixtureRequest, window: str, episodes: Sequence[int]) -> None:
    watched = request.getfixturevalue(window)
    for episode in episodes:
        watched.goes_to(episode)
        assert watched.page.evaluate("() => document.scrollingElement.scrollWidth <= innerWidth")
        assert watched.page.evaluate(
            """() => [...document.querySelectorAll(".plot, #map, #now-values:not([hidden])")].every((each) => {
                const { left, right, height } = each.getBoundingClientRect();
                return left >= 0 && right <= innerWidth && height > 50;
            })"""
        )
        titles = watched.page.evaluate(
            """() => [...document.querySelectorAll(".plot, #map-room")]
                .flatMap((plot) => Object.entries(plot.layout))
                .filter(([name]) => name.includes("axis"))
                .map(([, axis]) => axis.title?.text)"""
        )
        assert len(titles) >= 10
        assert all(titles)
        # The map's two charts lie on each other, and a metre is as long to the right as it is up.
        scales = watched.page.evaluate(
            """() => ["map-room", "map-moving"].flatMap((id) => {
                const { xaxis, yaxis } = document.getElementById(id)._fullLayout;
                return [xaxis.l2p(1) - xaxis.l2p(0), yaxis.l2p(0) - yaxis.l2p(1), xaxis._offset, yaxis._offset];
            })"""
        )
        assert scales[0] == pytest.approx(scales[1], rel=1e-6)
        assert scales[:4] == pytest.approx(scales[4:])


@pytest.mark.parametrize("window", ["desk", "phone"])
def test_it_is_as_bright_as_asked_for_and_legible(request: pytest.FixtureRequest, window: str) -> None:
    watched = request.getfixturevalue(window)
    card, ink = (rgb(watched, ".card", name) for name in ("background-color", "color"))
    assert (luminance(card) > 0.5) == (window == "desk")
    # What WCAG 2 asks for: 4.5 to 1 for texts, 3 to 1 for signs.
    assert contrast(card, ink) >= 4.5
    assert contrast(card, rgb(watched, ".card .faint", "color")) >= 4.5
    for badge in (".badge.good", ".badge.bad"):
        assert contrast(*(rgb(watched, badge, name) for name in ("background-color", "color"))) >= 4.5
    assert contrast(*(rgb(watched, "#play", name) for name in ("background-color", "color"))) >= 3


def rgb(watched: Watched, selector: str, name: str) -> list[float]:
    text = watched.page.evaluate(
        "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]", [selector, name]
    )
    return [float(part) for part in text[text.index("(") + 1 : -1].split(",")[:3]]


def luminance(colour: list[float]) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(first: list[float], second: list[float]) -> float:
    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def test_the_theme_can_be_changed(page: Watched) -> None:
    def look() -> tuple[float, str]:
        font = page.page.evaluate("() => document.getElementById('plot-steps').layout.font.color")
        return luminance(rgb(page, "body", "background-color")), font

    bright, font = look()
    page.page.get_by_role("button", name="Switch between light and dark").click()
    dark, other_font = look()
    assert bright > 0.5 > dark
    assert font != other_font
    page.page.get_by_role("button", name="Switch between light and dark").click()
    assert look() == (bright, font)


def test_names_do_no_harm(desk: Watched) -> None:
    desk.goes_to(NASTY_ONE)
    assert desk.page.title() == f"Episodes {NASTY}"
    assert desk.text("stage-title") == NASTY
    assert desk.page.locator("img").count() == 0
    assert desk.page.locator("main b, main i").count() == 0
    assert desk.page.locator("#listen option").all_text_contents() == ["What the ears heard"]
    # In the chart as well: what is in the names is drawn as it is written.
    labels = desk.page.locator("#map-room .textpoint").all_text_contents()
    assert [text.strip() for text in labels if "<" in text] == [f"<i>{index}</i>" for index in range(3)]
    touched = desk.page.locator("#plot-steps .textpoint").all_text_contents()
    assert touched[0].endswith("<i>2</i>")


def test_every_control_has_a_name(desk: Watched) -> None:
    names = desk.page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, audio, [role=img]")]
            .filter((each) => each.checkVisibility())
            .map((each) => each.getAttribute("aria-label") || each.labels?.[0]?.textContent || each.textContent)"""
    )
    assert len(names) > 20
    assert all(name.strip() for name in names)


# ---- The list --------------------------------------------------------------------------------------------------------


def rows(page: Watched, name: str) -> list[str]:
    return page.page.locator(f"#list tbody tr:visible {name}").all_text_contents()


def test_the_list_says_what_the_recordings_say(desk: Watched, recordings: list[Recording]) -> None:
    infos = [recording.info for recording in recordings]
    assert rows(desk, "a") == [recording.title or f"episode {i}" for i, recording in enumerate(recordings)]
    assert rows(desk, ".agent") == [recording.agent or "unnamed" for recording in recordings]
    assert rows(desk, "[data-name=Seed]") == [str(each.seed) if each.seed is not None else "" for each in recordings]
    assert rows(desk, ".outcome") == ["success", "failed", "left unfinished", "out of time", "left unfinished"]
    assert rows(desk, "[data-name=Found]") == [f"{info['num_found']} of {info['num_sources']}" for info in infos]
    assert rows(desk, "[data-name=Actions]") == [str(info["num_actions"]) for info in infos]
    for name, key in (("SPL", "spl"), ("SNA", "sna"), ("Metres", "path_length")):
        shown = [float(text) for text in rows(desk, f"[data-name={name}]")]
        assert shown == pytest.approx([info[key] for info in infos], abs=0.0501 if key == "path_length" else 0.00501)
    returns = [float(text.replace("−", "-")) for text in rows(desk, "[data-name=Return]")]
    assert returns == pytest.approx([recording.rewards.sum() for recording in recordings], abs=0.00501)


def test_means_of_the_agents(desk: Watched, recordings: list[Recording]) -> None:
    means = desk.page.locator("#summary tbody tr")
    assert means.locator("th").all_text_contents() == ["hearing", NASTY, "RandomAgent", "unnamed"]
    first = means.nth(0)
    infos = [recordings[index].info for index in (HEARING, MOVING)]

    def number(name: str) -> float:
        return float(first.locator(f"[data-name={name}]").inner_text().removesuffix(" %"))

    assert number("Episodes") == 2
    assert number("Success") == 50
    for name, key, digits in (("SPL", "spl", 2), ("SNA", "sna", 2), ("Actions", "num_actions", 1)):
        assert number(name) == pytest.approx(np.mean([info[key] for info in infos]), abs=0.501 * 10.0**-digits)


def test_the_list_is_sorted_and_filtered(desk: Watched, recordings: list[Recording]) -> None:
    titles = [recording.title or f"episode {index}" for index, recording in enumerate(recordings)]
    actions = [len(recording) - 1 for recording in recordings]
    by_actions = [titles[index] for index in np.argsort(actions)]
    head = desk.page.locator("#list thead")
    button = head.get_by_role("button", name="Actions")
    button.click()
    assert rows(desk, "a") == by_actions[::-1]
    assert head.locator("[aria-sort]").get_attribute("aria-sort") == "descending"
    button.press("Enter")
    assert rows(desk, "a") == by_actions
    head.get_by_role("button", name="Episode").click()
    assert rows(desk, "a") == sorted(titles)
    head.get_by_role("button", name="#").click()
    assert rows(desk, "a") == titles

    desk.page.locator("#agent-filter").select_option("hearing")
    assert rows(desk, "a") == ["one", "moving"]
    assert desk.text("count") == "2 of 5 shown"
    desk.page.locator("#outcome-filter").select_option("success")
    assert rows(desk, "a") == ["one"]
    for name in ("agent", "outcome"):
        desk.page.locator(f"#{name}-filter").select_option("")
    assert rows(desk, "a") == titles


def test_an_episode_is_chosen_with_the_mouse_and_with_the_keyboard(desk: Watched) -> None:
    desk.page.locator("#list tbody tr").nth(MOVING).locator(".outcome").click()
    assert desk.text("stage-title") == "moving"
    assert desk.page.evaluate("() => location.hash") == f"#episode={MOVING}&step=0"
    desk.page.locator("#list tbody a").nth(HEARING).press("Enter")
    assert desk.text("stage-title") == "one"
    desk.page.get_by_role("button", name="Next episode").click()
    assert desk.text("stage-title") == NASTY
    desk.page.get_by_role("button", name="Previous episode").click()
    assert desk.text("stage-title") == "one"


# ---- Sound -----------------------------------------------------------------------------------------------------------

DECODE = """async () => {
    const file = await blobs[document.getElementById("audio").src].arrayBuffer();
    const context = new OfflineAudioContext(2, 1, RATE);
    const sound = await context.decodeAudioData(file);
    const channels = Array.from({ length: sound.numberOfChannels }, (_, index) => sound.getChannelData(index));
    const letters = (channel) => {
        let text = "";
        for (const byte of new Uint8Array(channel.buffer)) text += String.fromCharCode(byte);
        return btoa(text);
    };
    return channels.map(letters);
}""".replace("RATE", str(RATE))


def played(page: Watched) -> np.ndarray:
    """(C, T) what the browser makes of the sound that is in its player."""
    channels = [base64.b64decode(channel) for channel in page.page.evaluate(DECODE)]
    return np.array([np.frombuffer(channel, dtype=np.float32) for channel in channels])


def assert_equal_in_16_bits(heard: np.ndarray, sound: np.ndarray) -> None:
    """But for half a step of 16 bits. Chromium divides what is above 0 by 2^15 - 1, and the rest by 2^15."""
    assert heard.shape == sound.shape
    steps = heard.astype(np.float64) * np.where(heard > 0, 2**15 - 1, 2**15)
    assert np.abs(steps - np.clip(sound * 2.0**15, -(2**15), 2**15 - 1)).max() <= 0.5 + 0.01  # of float32


def test_the_browser_decodes_what_the_ears_heard(page: Watched, recordings: list[Recording]) -> None:
    for episode in (HEARING, MOVING):
        page.goes_to(episode)
        sound = recordings[episode].sound
        heard = played(page)
        assert not np.allclose(sound[0], sound[1])
        assert_equal_in_16_bits(heard, sound)


def test_every_source_can_be_heard_alone(page: Watched, recordings: list[Recording]) -> None:
    recording = recordings[HEARING]
    sources = recording.snapshots[0].scene.sources
    options = page.page.locator("#listen option").all_text_contents()
    names = [f"True source: {source.sound.name}" for source in sources]
    assert options == ["What the ears heard", "Separated source 1", "Separated source 2", *names]
    assert recording.source_audio is not None
    alone = np.concatenate(list(recording.source_audio), axis=-1)  # (S, E, T)
    wanted = [*recording.separated_sound[:, None], *alone]
    page.page.evaluate("() => { document.getElementById('audio').currentTime = 1.25 }")
    for option, sound in zip(options[1:], wanted, strict=True):
        before = page.page.evaluate("() => document.getElementById('audio').src")
        page.page.locator("#listen").select_option(option)
        page.page.wait_for_function("src => document.getElementById('audio').src !== src", arg=before)
        heard = played(page)
        assert_equal_in_16_bits(heard, sound)
        assert page.page.evaluate("() => document.getElementById('audio').currentTime") == 1.25
    button = page.page.get_by_role("button", name="Listen to separated source 2 alone")
    button.click()
    assert page.page.locator("#listen").input_value() == "2"
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert page.page.locator("#listen").input_value() == "0"


def test_what_sounds_is_what_is_shown(phone: Watched, recordings: list[Recording]) -> None:
    """What comes out of the player after a jump to a step is what was heard in it, the left ear on the left."""
    recording, step = recordings[HEARING], 5
    phone.goes_to(HEARING, step)
    heard = phone.page.evaluate(
        """async (rate) => {
            const audio = document.getElementById("audio");
            const context = new AudioContext({ sampleRate: rate });
            const source = context.createMediaElementSource(audio);
            const tap = context.createScriptProcessor(1024, 2, 2);
            const pieces = [];
            const enough = new Promise((resolve) => {
                tap.onaudioprocess = ({ inputBuffer }) => {
                    const piece = [0, 1].map((index) => [...inputBuffer.getChannelData(index)]);
                    if (pieces.length || piece[0].some((sample) => sample)) pieces.push(piece);
                    if (pieces.length === 3) resolve();
                };
            });
            source.connect(tap).connect(context.destination);
            await audio.play();
            await enough;
            audio.pause();
            return pieces;
        }""",
        RATE,
    )
    # Which is not the page's but this test's.
    phone.errors[:] = [error for error in phone.errors if "ScriptProcessorNode is deprecated" not in error]
    sound = np.concatenate(np.array(heard), axis=-1)  # (2, T)
    first = int(np.flatnonzero(sound.any(axis=0))[0])
    piece = sound[:, first : first + 1500]
    start = round(step * recording.seconds_per_moment * RATE)
    lags = range(-400, 401)  # 50 ms
    for ear in (0, 1):
        errors = [np.square(recording.sound[ear, start + lag :][:1500] - piece[ear]).sum() for lag in lags]
        assert abs(lags[int(np.argmin(errors))]) <= 8  # 1 ms
        assert min(errors) < 1e-3 * np.square(piece[ear]).sum()


# ---- Playing and seeking ---------------------------------------------------------------------------------------------


def agent_at(page: Watched) -> tuple[float, float]:
    head = page.plot("map-moving")[3]
    return head["x"][0], head["y"][0]


def assert_shows(page: Watched, recording: Recording, episode: int, step: int) -> None:
    """All that goes with the sound stands at the beginning of a step."""
    seconds = step * recording.seconds_per_moment
    page.waits_for_step(step)
    assert page.text("clock-step") == f"Step {step} of {len(recording) - 1}"
    assert page.text("now-action") == (recording.action_names[step - 1] if step else "none yet")
    pose = recording.snapshots[step].pose
    assert agent_at(page) == pytest.approx((pose.x, pose.y), abs=1e-4)
    assert page.page.evaluate("() => location.hash") == f"#episode={episode}&step={step}"
    found = recording.snapshots[0].scene.is_target & ~recording.snapshots[step].on
    assert page.text("now-found").startswith(f"{found.sum()} of ")
    # The band over the charts marks the step.
    x, _ = page.place_of("plot-spectrogram", seconds)
    band = page.page.locator("#moment").bounding_box()
    assert band["x"] == pytest.approx(x, abs=1.5)
    end, _ = page.place_of("plot-spectrogram", seconds + recording.seconds_per_moment)
    assert band["x"] + band["width"] == pytest.approx(end, abs=1.5)


def seek_by_player(page: Watched, seconds: float, step: int) -> None:
    page.page.evaluate("seconds => { document.getElementById('audio').currentTime = seconds }", seconds)


def seek_by_slider(page: Watched, seconds: float, step: int) -> None:
    page.page.get_by_label("Time in the episode").fill(str(seconds))


def seek_by_steps_chart(page: Watched, seconds: float, step: int) -> None:
    page.page.mouse.click(*page.place_of("plot-steps", seconds))


def seek_by_spectrogram(page: Watched, seconds: float, step: int) -> None:
    page.page.mouse.click(*page.place_of("plot-spectrogram", seconds))


def seek_by_dragging(page: Watched, seconds: float, step: int) -> None:
    page.page.mouse.move(*page.place_of("plot-outline", 1.0))
    page.page.mouse.down()
    page.page.mouse.move(*page.place_of("plot-outline", seconds))
    page.page.mouse.up()


def seek_by_keys(page: Watched, seconds: float, step: int) -> None:
    page.page.locator("#stage-title").click()
    for _ in range(step + 2):
        page.page.keyboard.press("ArrowRight")
    for _ in range(2):
        page.page.keyboard.press("ArrowLeft")


def seek_by_address(page: Watched, seconds: float, step: int) -> None:
    page.goes_to(HEARING, step)


@pytest.mark.parametrize(
    "seek",
    [
        seek_by_player,
        seek_by_slider,
        seek_by_steps_chart,
        seek_by_spectrogram,
        seek_by_dragging,
        seek_by_keys,
        seek_by_address,
    ],
    ids=lambda seek: seek.__name__,
)
def test_seeking(page: Watched, recordings: list[Recording], seek: Callable[[Watched, float, int], None]) -> None:
    recording = recordings[HEARING]
    last = len(recording) - 1
    steps = (last - 2,) if seek is seek_by_keys else (last // 2, last)
    for step in steps:
        page.goes_to(HEARING, 0 if step else 1)
        seek(page, (step + 0.4) * recording.seconds_per_moment, step)
        assert_shows(page, recording, HEARING, step)


def test_a_step_ends_where_the_next_begins(desk: Watched, recordings: list[Recording]) -> None:
    seconds, last = recordings[HEARING].seconds_per_moment, len(recordings[HEARING]) - 1
    for time, step in [(0, 0), (2 * seconds - 0.01, 1), (2 * seconds, 2), ((last + 1) * seconds, last), (1e9, last)]:
        desk.goes_to(HEARING, 4)
        seek_by_player(desk, time, step)
        desk.waits_for_step(step)
    # Times that binary fractions do not hit.
    for step in range(len(recordings[MOVING])):
        desk.goes_to(MOVING, 0 if step else 1)
        seek_by_player(desk, step * 0.3, step)
        desk.waits_for_step(step)


def test_the_player_finds_every_step(desk: Watched, recordings: list[Recording]) -> None:
    """Chromium's player cannot seek to some places in FLAC, after which it plays no more."""
    for episode, stride in ((HEARING, 1), (WANDERING, 10)):
        desk.goes_to(episode)
        missed = desk.page.evaluate(
            """async ([seconds, count]) => {
                const audio = document.getElementById("audio");
                const event = (name) =>
                    new Promise((resolve) => audio.addEventListener(name, () => resolve(name), { once: true }));
                for (let index = 0; index < count; index++) {
                    audio.currentTime = ((index * 37) % count) * seconds;
                    if ((await Promise.race([event("seeked"), event("error")])) === "error") return index;
                }
                return null;
            }""",
            [stride * recordings[episode].seconds_per_moment, len(recordings[episode]) // stride],
        )
        assert missed is None


def test_buttons_and_keys(page: Watched) -> None:
    press = page.page.keyboard.press
    page.goes_to(HEARING, 3)
    page.page.get_by_role("button", name="Next step").click()
    page.waits_for_step(4)
    press("ArrowLeft")
    page.waits_for_step(3)
    page.page.get_by_role("button", name="Previous step").click()
    page.waits_for_step(2)
    page.page.get_by_label("Speed").select_option("0.25")
    page.page.locator("#stage-title").click()
    press(" ")
    page.page.wait_for_function("() => !document.getElementById('audio').paused")
    page.page.get_by_role("button", name="Pause").wait_for()
    press(" ")
    page.page.wait_for_function("() => document.getElementById('audio').paused")
    assert page.page.evaluate("() => document.getElementById('audio').playbackRate") == 0.25
    page.page.get_by_label("Speed").select_option("1")


def test_it_plays(page: Watched, recordings: list[Recording]) -> None:
    recording = recordings[HEARING]
    seconds, last = recording.seconds_per_moment, len(recording) - 1
    page.page.get_by_label("Speed").select_option("4")
    page.page.get_by_role("button", name="Play").click()
    page.page.get_by_role("button", name="Pause").wait_for()
    seen = set()
    for _ in range(1000):
        # Whatever was drawn between two looks at the clock shows a time between them.
        before, step, place, after, ended = page.page.evaluate(
            """() => new Promise((resolve) => {
                const audio = document.getElementById("audio");
                const before = audio.currentTime;
                const look = () => [
                    Number(document.getElementById("clock-step").textContent.split(" ")[1]),
                    Number(document.getElementById("seek").value),
                ];
                requestAnimationFrame(() => requestAnimationFrame(() =>
                    resolve([before, ...look(), audio.currentTime, audio.ended])));
            })"""
        )
        assert min(int(before / seconds + 1e-3), last) <= step <= min(int(after / seconds + 1e-3), last)
        assert before - 1e-3 <= place <= after + 1e-3
        seen.add(step)
        if ended:
            break
    assert seen >= {last}
    assert len(seen) > 3
    page.waits_for_step(last)
    page.page.get_by_role("button", name="Play").wait_for()
    page.page.get_by_label("Speed").select_option("1")


# Holds the player at a time as if it played, and tells what the two charts of the map are given then.
HELD = """(time) => new Promise((resolve) => {
    const audio = document.getElementById("audio");
    Object.defineProperty(audio, "paused", { get: () => false, configurable: true });
    Object.defineProperty(audio, "currentTime", { get: () => time, configurable: true });
    audio.dispatchEvent(new Event("play"));
    setTimeout(() => requestAnimationFrame(() => {
        const data = (id) => JSON.parse(JSON.stringify(document.getElementById(id).data));
        const charts = [data("map-moving"), data("map-room")];
        delete audio.paused;
        delete audio.currentTime;
        audio.dispatchEvent(new Event("pause"));
        resolve(charts);
    }), 100);
})"""


@pytest.mark.parametrize("episode", [HEARING, MOVING], ids=["still-sources", "moving-sources"])
def test_the_agent_glides(desk: Watched, recordings: list[Recording], episode: int) -> None:
    """In the first 0.2 s of a step, or 0.4 of it, from where it was to where it is, slowly at both ends."""
    recording, step = recordings[episode], 3
    desk.goes_to(episode, step)
    for elapsed in (0.05, 0.1, 0.25):
        share = min(elapsed / min(0.2, 0.4 * recording.seconds_per_moment), 1)
        expected = between(recording.snapshots[step - 1], recording.snapshots[step], 3 * share**2 - 2 * share**3)
        moving, room = desk.page.evaluate(HELD, step * recording.seconds_per_moment + elapsed)
        assert_agent(moving, expected.pose, expected.ears)
        assert np.transpose([room[2]["x"], room[2]["y"]]) == pytest.approx(expected.source_positions[:, :2], abs=1e-3)


# ---- The map ---------------------------------------------------------------------------------------------------------


def assert_agent(moving: list[dict[str, Any]], pose: Pose, ears: np.ndarray) -> None:
    """Head, nose and ears of the map are where they should be; ears within the head are drawn on its rim."""
    _, _, nose, head, drawn = moving
    place = np.array([head["x"][0], head["y"][0]])
    assert place == pytest.approx(pose.position, abs=1e-3)
    towards = np.array([nose["x"][0], nose["y"][0]]) - place
    assert math.remainder(math.atan2(towards[1], towards[0]) - pose.heading, 2 * math.pi) == pytest.approx(0, abs=1e-3)
    # plotly turns signs clockwise from straight up.
    assert math.remainder(nose["marker"]["angle"][0] - (90 - math.degrees(pose.heading)), 360) == pytest.approx(
        0, abs=0.1
    )
    offsets, wanted = np.transpose([drawn["x"], drawn["y"]]) - place, ears[:, :2] - pose.position
    assert len(offsets) == len(wanted)
    for offset, ear in zip(offsets, wanted, strict=True):
        assert math.remainder(math.atan2(*offset) - math.atan2(*ear), 2 * math.pi) == pytest.approx(0, abs=0.01)
        assert math.hypot(*offset) >= math.hypot(*ear) - 1e-3


@pytest.mark.parametrize(
    "episode", [HEARING, NASTY_ONE, MOVING, LEFT], ids=["still", "distractors", "l-shape", "start"]
)
def test_the_map_shows_the_recording(desk: Watched, recordings: list[Recording], episode: int) -> None:
    recording = recordings[episode]
    scene, reach = recording.snapshots[0].scene, recording.snapshots[0].body.capture_radius
    for step in sorted({0, (len(recording) - 1) // 2, len(recording) - 1}):
        desk.goes_to(episode, step)
        snapshot = recording.snapshots[step]
        way, walked, sources, signs = desk.plot("map-room")
        moving = desk.plot("map-moving")
        assert_agent(moving, snapshot.pose, snapshot.ears)
        path = np.array([pose.position for pose in recording.snapshots[-1].path])
        assert np.transpose([way["x"], way["y"]]) == pytest.approx(path, abs=1e-4)
        assert np.transpose([walked["x"], walked["y"]]).reshape(-1, 2) == pytest.approx(path[:step], abs=1e-4)
        places = snapshot.source_positions[:, :2]
        assert np.transpose([sources["x"], sources["y"]]) == pytest.approx(places, abs=1e-4)
        found = scene.is_target & ~snapshot.on
        assert signs["text"] == [
            "✓" if done else "" if goal else "✕" for done, goal in zip(found, scene.is_target, strict=True)
        ]
        # Rings around what sounds, and only around it.
        rings = np.transpose([moving[1]["x"], moving[1]["y"]]).reshape(-1, 3, 2)
        assert rings == pytest.approx(np.repeat(places[snapshot.on][:, None], 3, axis=1), abs=1e-4)
        shapes = desk.page.evaluate("() => document.getElementById('map-room').layout.shapes")
        discs = [[shape[name] for name in ("x0", "x1", "y0", "y1")] for shape in shapes if shape["type"] == "circle"]
        assert discs == pytest.approx(
            np.array([[x - reach, x + reach, y - reach, y + reach] for x, y in places]), abs=1e-4
        )
        walls = shapes[-1]["path"]
        corners = [[float(number) for number in corner.split(",")] for corner in walls.strip("MZ").split("L")]
        assert corners == pytest.approx(np.asarray(scene.room.corners), abs=1e-4)


def test_a_click_on_the_way_goes_there(page: Watched, recordings: list[Recording]) -> None:
    page.goes_to(HEARING, 0)
    step = len(recordings[HEARING]) // 2
    pose = recordings[HEARING].snapshots[step].pose
    place = page.page.evaluate(
        """([x, y]) => {
            const plot = document.getElementById("map-room");
            plot.scrollIntoView({ block: "center" });
            const { xaxis, yaxis } = plot._fullLayout;
            const { left, top } = plot.getBoundingClientRect();
            return [left + xaxis._offset + xaxis.l2p(x), top + yaxis._offset + yaxis.l2p(y)];
        }""",
        [pose.x, pose.y],
    )
    page.page.mouse.move(*place)
    page.page.mouse.click(*place)
    # Steps on the spot are in the same place.
    page.page.wait_for_function("() => document.getElementById('audio').currentTime > 0")
    assert agent_at(page) == pytest.approx((pose.x, pose.y), abs=0.3)


# ---- The charts ------------------------------------------------------------------------------------------------------


def test_steps_and_what_happened_in_them(page: Watched, recordings: list[Recording]) -> None:
    recording = recordings[HEARING]
    bars, marks = page.plot("plot-steps")
    seconds = recording.seconds_per_moment
    # Whatever an action leads to is heard after it.
    assert bars["base"] == pytest.approx([(index + 1) * seconds for index in range(len(recording.actions))])
    assert [3 - row for row in bars["y"]] == list(recording.actions)
    on = np.array([snapshot.on for snapshot in recording.snapshots])
    found = [step for step in range(1, len(recording)) if (on[step - 1] & ~on[step]).any()]
    assert len(found) == 2
    assert marks["x"] == pytest.approx([(step + 0.5) * seconds for step in found])
    page.goes_to(NASTY_ONE)
    _, marks = page.plot("plot-steps")
    assert marks["x"] == pytest.approx([(len(recordings[NASTY_ONE]) - 0.5) * seconds])
    page.goes_to(MOVING)
    forward, turn, _ = page.plot("plot-steps")
    actions = np.array(recordings[MOVING].actions)
    assert forward["y"][:-1] == pytest.approx(actions[:, 0], abs=1e-4)
    assert turn["y"][:-1] == pytest.approx(actions[:, 1], abs=1e-4)


def test_rewards(page: Watched, recordings: list[Recording]) -> None:
    recording = recordings[HEARING]
    *terms, so_far = page.plot("plot-rewards")
    shown = np.sum([term["y"] for term in terms], axis=0)
    assert shown == pytest.approx(recording.rewards, abs=1e-5)
    assert so_far["y"][:-1] == pytest.approx(np.append(0, recording.rewards.cumsum()), abs=1e-4)
    page.goes_to(HEARING, 2)
    assert float(page.text("now-reward").replace("−", "-")) == pytest.approx(recording.rewards[1], abs=0.0006)


def test_separated_sources(page: Watched, recordings: list[Recording]) -> None:
    recording = recordings[HEARING]
    masks = np.concatenate([perception.masks for perception in recording.perceptions], axis=-1)
    assert (masks > 1).any()
    for index, mask in enumerate(masks):
        (heat,) = page.plot(f"plot-source-{index}")
        assert np.abs(decoded(heat["z"]) / 100 - np.minimum(mask, 1)).max() <= 0.005 + 1e-6
        assert heat["dx"] * mask.shape[1] == pytest.approx(len(recording) * recording.seconds_per_moment)
        assert heat["dy"] * (len(mask) - 1) == pytest.approx(RATE / 2000)  # kHz
    lines = page.plot("plot-cues")
    cues = np.array([perception.cues for perception in recording.perceptions])  # (M, S, K)
    drawn = np.array([line["y"][:-1] for line in lines]).reshape(4, 2, len(recording))
    assert drawn == pytest.approx(cues.transpose(2, 1, 0), abs=1e-4)
    page.page.get_by_label("Separated sources").select_option("spectrograms")
    (heat,) = page.plot("plot-source-0")
    levels = decoded(heat["z"])
    # White noise of variance 0.2^2 has 4 sum(w^2) / sum(w)^2 = 6 / 256 of it in a bin, with a Hann window w of 256.
    assert 10 * np.log10(np.mean(10 ** (levels / 10))) == pytest.approx(10 * np.log10(6 / 256 * 0.2**2), abs=0.5)
    page.page.get_by_label("Separated sources").select_option("masks")


def test_values_of_the_actions(page: Watched, recordings: list[Recording]) -> None:
    recording = recordings[HEARING]
    values = np.array([perception.values for perception in recording.perceptions])  # (M, A)
    heat, chosen, best = page.plot("plot-values")
    assert pytest.approx(values, abs=1e-4) == np.array(heat["customdata"])[::-1].T
    assert pytest.approx(values - values.max(axis=1, keepdims=True), abs=1e-4) == np.array(heat["z"])[::-1].T
    assert best["y"][:-1] == pytest.approx(values.max(axis=1), abs=1e-4)
    assert [3 - row for row in chosen["y"]] == list(recording.actions)
    for step in (0, 4, len(recording) - 1):
        page.goes_to(HEARING, step)
        (bars,) = page.plot("now-values")
        assert bars["x"] == pytest.approx(values[step], abs=1e-4)
        # The one that was taken stands out, as long as one was.
        colours = bars["marker"]["color"]
        if step < len(recording) - 1:
            assert page.text("now-next") == recording.action_names[step]
            assert [each for each in range(4) if colours.count(colours[each]) == 1] == [recording.actions[step]]
        else:
            assert len(set(colours)) == 1


def test_probabilities_and_continuous_actions(desk: Watched, recordings: list[Recording]) -> None:
    desk.goes_to(WANDERING)
    heat, _ = desk.plot("plot-values")
    values = np.array([perception.values for perception in recordings[WANDERING].perceptions])
    assert pytest.approx(values, abs=1e-4) == np.array(heat["z"])[::-1].T
    assert "separated sources" in desk.text("absent")
    assert desk.page.locator("[id^=track-source], #track-cues").count() == 0
    desk.goes_to(MOVING)
    lines = desk.plot("plot-values")
    values = np.array([perception.values for perception in recordings[MOVING].perceptions])
    assert np.transpose([line["y"][:-1] for line in lines]) == pytest.approx(values, abs=1e-4)
    desk.goes_to(NASTY_ONE)
    assert desk.page.locator("#track-values, #track-cues").count() == 0
    assert not desk.page.locator("#now-values").is_visible()
    assert "values of the actions" in desk.text("absent")


def test_a_part_of_the_episode_follows_the_player(desk: Watched, recordings: list[Recording]) -> None:
    desk.goes_to(WANDERING, 100)
    desk.page.get_by_role("button", name="20 s").click()
    for step in (150, 10):
        desk.goes_to(WANDERING, step)
        seconds = step * recordings[WANDERING].seconds_per_moment
        ranges = desk.page.evaluate(
            "() => [...document.querySelectorAll('.plot')].map((each) => each.layout.xaxis.range)"
        )
        for low, high in ranges:
            assert high - low == pytest.approx(20)
            assert low - 1e-9 <= seconds <= high
        # A click in it goes to what is drawn there.
        desk.page.mouse.click(*desk.place_of("plot-rewards", seconds - 0.4))
        desk.waits_for_step(step - 1)
    desk.page.get_by_role("button", name="whole episode").click()
    assert desk.page.evaluate("() => document.getElementById('plot-steps').layout.xaxis.range") == [0, 100.5]


def test_configuration_and_provenance_are_folded_away(page: Watched) -> None:
    assert not page.page.locator("#world").is_visible()
    page.page.locator("#configuration summary").click()
    world = json.loads(page.text("world"))
    assert world["num_sources"] == 2
    assert world["room"]["size"] == [8.0, 8.0, 3.0]
    page.page.locator("#configuration summary").click()
    assert json.loads(page.page.locator("#made-by pre").text_content()) == {"suite": NASTY, "numbers": [1, 2.5]}


@pytest.mark.parametrize(("hertz", "amplitude"), [(1000.0, 0.5), (250.0, 0.01), (3000.0, 1.0)])
def test_the_spectrogram_shows_a_sine_at_its_level(hertz: float, amplitude: float) -> None:
    sound = amplitude * np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE)
    content = spectrogram(np.stack([sound, sound]), RATE)
    levels = decoded(content["levels"])
    inside = levels[:, 2 : round(2 / content["seconds"]) - 2]
    row = round(hertz / content["hertz"])
    assert set(inside.argmax(axis=0)) == {row}
    # In a bin's middle the level of the sine itself, in whole dB.
    assert np.abs(inside[row] - 20 * np.log10(amplitude)).max() <= 0.6
    assert content["hertz"] * (len(levels) - 1) == RATE / 2


def test_the_spectrogram_shows_a_click_when_it_sounds() -> None:
    sound = np.zeros((2, RATE))
    sound[0, 3210] = 1.0
    content = spectrogram(sound, RATE)
    loudest = decoded(content["levels"]).astype(float).mean(axis=0).argmax()
    assert loudest * content["seconds"] == pytest.approx(3210 / RATE, abs=content["seconds"] / 2)


# ---- Writing ---------------------------------------------------------------------------------------------------------


def test_the_file_holds_all_that_it_needs(file: Path, recordings: list[Recording]) -> None:
    content = content_of(file, HEARING)
    assert content["moments"] == len(recordings[HEARING])
    assert {sound["kind"] for sound in content["sounds"]} == {"mixture", "separated", "true"}
    assert not list(file.parent.glob(".*"))


def test_bad_input_is_refused_and_leaves_the_old_file(tmp_path: Path, recordings: list[Recording]) -> None:
    path = tmp_path / "episodes.html"
    path.write_text("old")
    recording = recordings[LEFT]
    with pytest.raises(ValueError, match="recordings: expected at least one Recording, actual: none"):
        write_viewer(path, [])
    with pytest.raises(TypeError, match="expected a sequence of Recordings, actual: a single one"):
        write_viewer(path, recording)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"recordings\[1\]: expected a Recording, actual: str"):
        write_viewer(path, [recording, "episode"])  # type: ignore[list-item]
    broken = replace(recording, perceptions=(Perception.nothing(),) * 3)
    with pytest.raises(
        ValueError, match=r"recordings\[0\].perceptions: expected none, or one for each of the 1 moments"
    ):
        write_viewer(path, [broken])
    nan = np.full(4, np.nan, dtype=np.float32)
    with pytest.raises(ValueError, match=r"recordings\[0\].perceptions\[0\].values: expected finite numbers"):
        write_viewer(path, [replace(recording, perceptions=(replace(Perception.nothing(), values=nan),))])
    with pytest.raises(TypeError, match="made_by: expected plain data that JSON can hold"):
        write_viewer(path, [recording], made_by={"path": Path()})
    with pytest.raises(FileNotFoundError):
        write_viewer(tmp_path / "missing" / "episodes.html", [recording])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["jinja2", "plotly"])
def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recordings: list[Recording], name: str
) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == name] + [name]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyNotInstalled, match=rf'{name} is not installed.*pip install "auralnav\[viewer\]"'):
        write_viewer(tmp_path / "episodes.html", recordings)
