"""Ears as they were measured: head-related impulse responses (HRIRs) for directions all around the head.

Between the directions that were measured the responses are interpolated, so that what is heard changes smoothly as the
head turns. Mixing responses that begin at different times would blur them. So each is split into a delay and a response
that begins when all others do, and the two are interpolated one by one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np
import scipy.fft
from gymnasium.error import DependencyNotInstalled
from scipy.spatial import cKDTree

from auralnav_gym.checks import require_positive, require_whole
from auralnav_gym.ears import Ears, require_positions, with_height
from auralnav_gym.hrir import LEAD, advance, find_onsets, lower_rate, minimum_phase, shorten
from auralnav_gym.sphere import Sphere

# How often the differences between the ears' delays are smoothed: KEMAR is interpolated no better with more.
_SMOOTHINGS = 4


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredEars(Ears):
    """Ears with the impulse responses that were measured at them.

    :meth:`kemar` are those of a dummy head, :meth:`from_sofa` reads a file, :meth:`from_responses` takes arrays.

    A direction is interpolated between the three measured ones around it; :class:`~auralnav_gym.sphere.Sphere` says
    how, and what it does where nothing was measured straight down or up.

    Attributes:
        directions: (M, 3) float64, where the sounds came from, unit vectors in the head frame.
        responses: (M, E, T) float32, what is heard; sounds about :data:`~auralnav_gym.hrir.LEAD` seconds after its
            first sample.
        delays: (M, E) float64, seconds from when the sound would be at the head's centre, were there no head, to the
            first sample of the response; may be below 0.
        sample_rate: Of the responses, Hz. They serve every sample rate up to it.
        positions: (E, 3) float64, the ears in the head frame, metres.

    Raises:
        ValueError: If shapes do not fit each other, numbers are not finite, or the directions leave a side open.
    """

    directions: np.ndarray
    responses: np.ndarray
    delays: np.ndarray
    sample_rate: int
    # A tuple, since a dataclass refuses arrays as defaults; an array from the first moment on.
    positions: np.ndarray = ((0.0, 0.0875, 0.0), (0.0, -0.0875, 0.0))  # type: ignore[assignment]

    def __post_init__(self) -> None:
        require_whole("ears sample_rate", self.sample_rate, 1)
        own = {
            "directions": _unit_vectors(self.directions),
            "responses": np.array(self.responses, dtype=np.float32),
            "delays": np.array(self.delays, dtype=np.float64),
            "positions": require_positions(self.positions),
        }
        expected = (len(own["directions"]), len(own["positions"]))
        shape = own["responses"].shape
        if len(shape) != 3 or shape[:2] != expected or shape[2] == 0:
            raise ValueError(f"ears responses: expected shape ({expected[0]}, {expected[1]}, T), actual: {shape}")
        if own["delays"].shape != expected:
            raise ValueError(f"ears delays: expected shape {expected}, actual: {own['delays'].shape}")
        for name, array in own.items():
            if not np.isfinite(array).all():
                raise ValueError(f"ears {name}: expected finite numbers, actual: NaN or infinity among them")
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def kemar(cls) -> MeasuredEars:
        """KEMAR's: a dummy head with torso, measured by Gardner and Martin (MIT Media Lab, 1994); up to 44.1 kHz.

        ``ears_data/README.md`` in this package says where the data are from and what was done to them.
        """
        return _kemar()

    @classmethod
    def from_responses(
        cls,
        directions: np.ndarray,
        responses: np.ndarray,
        sample_rate: int,
        positions: np.ndarray | None = None,
        seconds: float = 0.005,
    ) -> MeasuredEars:
        """Ears from impulse responses as they were measured.

        The head's centre is taken to be reached by a sound from ahead when it reaches the ears, on their mean. All
        responses are made louder or softer by one factor: so that the energy of a response is 1 on the mean over ears
        and over the sphere, and the ears hear as much of a diffuse field as omnidirectional microphones do.

        Args:
            directions: (M, 3), where the sounds came from, in the head frame; vectors of any length.
            responses: (M, E, T), the differences in arrival between ears and directions left in.
            sample_rate: Hz.
            positions: (E, 3), the ears in the head frame, metres; None: 8.75 cm to the left and right.
            seconds: How much is kept of a response once it has begun.
        """
        require_positive("ears seconds", seconds, "seconds")
        directions, responses = _unit_vectors(directions), np.asarray(responses, dtype=np.float64)
        if responses.ndim != 3 or len(responses) != len(directions) or responses.size == 0:
            raise ValueError(f"ears responses: expected shape ({len(directions)}, E, T), actual: {responses.shape}")
        if not (np.isfinite(responses).all() and responses.any(axis=-1).all()):
            raise ValueError(
                "ears responses: expected finite numbers and no silent response, actual: NaN, infinity or silence"
            )
        sphere = Sphere(directions)
        aligned, delays = _align(sphere, responses, np.zeros(responses.shape[:2]), sample_rate)
        aligned = shorten(aligned, seconds, sample_rate)
        aligned /= math.sqrt(sphere.mean(np.square(aligned).sum(axis=-1)).mean())
        keywords = {} if positions is None else {"positions": positions}
        return cls(directions, aligned, delays, sample_rate, **keywords)

    @classmethod
    def from_sofa(cls, path: str | os.PathLike[str], seconds: float = 0.005) -> MeasuredEars:
        """Ears from a SOFA file (AES69) of the convention SimpleFreeFieldHRIR; see :meth:`from_responses`.

        Args:
            path: The file.
            seconds: How much is kept of a response once it has begun.

        Raises:
            gymnasium.error.DependencyNotInstalled: If sofar is missing.
            ValueError: If the file is of another convention, or its listener does not look along x with z upwards.
        """
        sofa = _read_sofa(path)
        positions = _cartesian(np.squeeze(sofa.ReceiverPosition, axis=-1), sofa.ReceiverPosition_Type)
        responses = np.asarray(sofa.Data_IR, dtype=np.float64)
        sample_rate = int(np.squeeze(sofa.Data_SamplingRate))
        # The delays are in samples, the same for all measurements or one for each.
        delays = np.broadcast_to(sofa.Data_Delay, responses.shape[:2]) / sample_rate
        longer = np.pad(responses, ((0, 0), (0, 0), (0, math.ceil(delays.max() * sample_rate))))
        left_first = np.argsort(-positions[:, 1], kind="stable")
        # Some files leave the ears at the origin, which is to say nothing.
        places = positions[left_first] if positions.any() else None
        return cls.from_responses(
            _cartesian(sofa.SourcePosition, sofa.SourcePosition_Type),
            advance(longer, -delays, sample_rate)[:, left_first],
            sample_rate,
            places,
            seconds,
        )

    def diffuse_field_equalized(
        self, lowest: float = 400.0, highest: float = 16_000.0, seconds: float = 0.0025
    ) -> MeasuredEars:
        """The same ears without what all responses have in common, such as the loudspeaker they were measured with.

        Every response is filtered by the inverse, of minimum phase, of the root of the mean energy over ears and
        sphere. After that the ears hear a diffuse field as omnidirectional microphones do, at every frequency.

        Below ``lowest`` nothing that small loudspeakers play is left to be inverted; there the responses are given
        what those of a head have to have: a magnitude that does not change and a phase that is in proportion to
        frequency, as they are at ``lowest`` (Xie, Chinese Journal of Acoustics 28 (2), 2009). Above ``highest`` the
        inverse does not change any more.

        Args:
            lowest: Hz.
            highest: Hz.
            seconds: How much is kept of a response once it has begun.
        """
        size = scipy.fft.next_fast_len(4 * self.responses.shape[-1] + self.sample_rate // 25, real=True)
        frequencies = scipy.fft.rfftfreq(size, 1 / self.sample_rate)
        spectra = scipy.fft.rfft(self.responses.astype(np.float64), size)
        power = self._sphere.mean(np.square(np.abs(spectra))).mean(axis=0)
        last = np.searchsorted(frequencies, min(highest, frequencies[-1]), side="right") - 1
        power[last:] = power[last]
        spectra /= minimum_phase(np.sqrt(power), size)
        # The phase without that of LEAD, which is in proportion to frequency anyway.
        spectra *= np.exp(2j * math.pi * LEAD * frequencies)
        first = np.searchsorted(frequencies, lowest)
        shares, edge = frequencies[:first] / frequencies[first], spectra[..., first, None]
        spectra[..., :first] = np.abs(edge) * np.exp(1j * shares * np.angle(edge))
        # Without the loudspeaker they begin earlier: room for that.
        spectra *= np.exp(-4j * math.pi * LEAD * frequencies)
        equalized = scipy.fft.irfft(spectra, size)
        aligned, delays = _align(self._sphere, equalized, self.delays - LEAD, self.sample_rate)
        aligned = shorten(aligned, seconds, self.sample_rate)
        return MeasuredEars(self.directions, aligned, delays, self.sample_rate, self.positions)

    @property
    def reference_points(self) -> np.ndarray:
        """(E, 3) float64, zeros: the delays lead from the head's centre to the ears."""
        return np.zeros_like(self.positions)

    def gains(self, directions: np.ndarray) -> np.ndarray:
        """The root of the energy of the responses, over all frequencies up to half of their own sample rate."""
        corners, weights = self._locate(directions)
        return np.einsum("seik,seik->sei", weights, self._gains.take(corners))

    def filters(self, directions: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Responses and delays, interpolated; see :class:`Ears`.

        Raises:
            ValueError: If the sample rate is above that of the responses.
        """
        responses, lead = self._at(sample_rate)
        corners, weights = self._locate(directions)
        delays = np.einsum("seik,seik->sei", weights, self._delays.take(corners)) - lead
        shares = weights.astype(np.float32)
        return np.einsum("seik,seikt->seit", shares, responses.take(corners, axis=0)), delays

    def _at(self, sample_rate: int) -> tuple[np.ndarray, float]:
        """(P * E, T) float32 responses at a sample rate, and by how many seconds they begin earlier."""
        if sample_rate > self.sample_rate:
            raise ValueError(
                f"sample_rate: expected at most that of the measured ears, {self.sample_rate} Hz, actual: "
                f"{sample_rate}; measurements at a higher rate can be read by MeasuredEars.from_sofa(path)"
            )
        if sample_rate not in self._resampled:
            responses, earlier = lower_rate(self._extended, self.sample_rate, sample_rate)
            self._resampled[sample_rate] = responses.reshape(-1, responses.shape[-1]), earlier
        return self._resampled[sample_rate]

    def _locate(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners, as places among P * E responses, and weights, (S, E, I, 3) each, for directions (D, S, E, I)."""
        corners, weights = self._sphere.locate(with_height(directions).reshape(3, -1).T)
        shape, num_ears = (*directions.shape[1:], 3), len(self.positions)
        return corners.reshape(shape) * num_ears + np.arange(num_ears)[:, None, None], weights.reshape(shape)

    # P measurements: the M directions and the poles that joined them.

    @cached_property
    def _sphere(self) -> Sphere:
        return Sphere(self.directions)

    @cached_property
    def _gains(self) -> np.ndarray:
        """(P, E) float64."""
        return np.sqrt(self._sphere.extend(np.square(self.responses, dtype=np.float64).sum(axis=-1)))

    @cached_property
    def _delays(self) -> np.ndarray:
        """(P, E) float64, seconds."""
        return self._sphere.extend(self.delays)

    @cached_property
    def _extended(self) -> np.ndarray:
        """(P, E, T) float64, where the mean of responses has the mean of their energies."""
        means = self._sphere.extend(self.responses.astype(np.float64))
        gains = np.sqrt(np.square(means).sum(axis=-1))
        return means * (self._gains / np.maximum(gains, np.finfo(float).tiny))[..., None]

    @cached_property
    def _resampled(self) -> dict[int, tuple[np.ndarray, float]]:
        return {}

    def to_config(self) -> dict[str, Any]:
        """What the file of a world holds: that they are KEMAR's; of others, their fields."""
        if self == MeasuredEars.kemar():
            return {"name": "kemar"}
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_config(cls, data: Mapping[str, Any]) -> MeasuredEars:
        """KEMAR's ears; there is no room for those of others in the file of a world."""
        if dict(data) != {"name": "kemar"}:
            raise ValueError(
                f"expected {{'name': 'kemar'}}, actual keys: {list(data)}; ears that were read from elsewhere are "
                "given beside the file, World.load(path, ears=...)"
            )
        return cls.kemar()

    def __repr__(self) -> str:
        measurements, ears, taps = self.responses.shape
        return f"MeasuredEars({measurements} directions, {ears} ears, {taps} samples at {self.sample_rate} Hz)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MeasuredEars):
            return NotImplemented
        return self is other or all(map(np.array_equal, self._fields(), other._fields()))

    def __hash__(self) -> int:
        return hash((self.directions.tobytes(), self.delays.tobytes(), self.sample_rate))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through the constructor: numpy forgets that an array was read-only, and the rest is made again."""
        return MeasuredEars, self._fields()

    def _fields(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


def _align(
    sphere: Sphere, responses: np.ndarray, begins: np.ndarray, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split responses into a delay and a response that begins when all others do.

    Args:
        sphere: Of their M directions.
        responses: (M, E, T).
        begins: (M, E), when their first samples are heard, seconds.
        sample_rate: Hz.

    Returns:
        (M, E, T) responses, and (M, E) when their first samples are heard, seconds after a sound from ahead reaches the
        ears.
    """
    onsets = begins + find_onsets(responses, sample_rate)
    # Where the sound comes round the head both ways, the onset at the far ear jumps from one way to the other, and what
    # is between would be blurred. So the ear that hears first keeps its onset, and the differences to the others are
    # smoothed; what that takes away from the delays stays in the responses.
    differences = sphere.smooth(onsets - onsets.mean(axis=1, keepdims=True), _SMOOTHINGS)
    first = onsets.argmin(axis=1)[:, None]
    onsets = differences + np.take_along_axis(onsets - differences, first, axis=1)
    corners, weights = sphere.locate(np.array([[1.0, 0.0, 0.0]]))
    ahead = float(weights[0] @ sphere.extend(onsets)[corners[0]].mean(axis=-1))
    return advance(responses, onsets - begins - LEAD, sample_rate), onsets - LEAD - ahead


def _unit_vectors(directions: np.ndarray) -> np.ndarray:
    own = np.array(directions, dtype=np.float64)
    if own.ndim != 2 or own.shape[1] != 3:
        raise ValueError(f"ears directions: expected shape (M, 3), actual: {own.shape}")
    lengths = np.linalg.norm(own, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and lengths.all()):
        raise ValueError("ears directions: expected finite vectors longer than 0, actual: others among them")
    # What has length 1 stays as it is to the last bit, so that a copy equals the original.
    return own / np.where(np.abs(lengths - 1) > 1e-12, lengths, 1.0)


def _cartesian(places: np.ndarray, coordinates: str) -> np.ndarray:
    """(n, 3) x, y, z of SOFA's places (n, 3): these, or azimuth and elevation in degrees and a radius."""
    if coordinates == "cartesian":
        return np.asarray(places, dtype=np.float64)
    azimuths, elevations = np.radians(places[:, 0]), np.radians(places[:, 1])
    towards = [np.cos(elevations) * np.cos(azimuths), np.cos(elevations) * np.sin(azimuths), np.sin(elevations)]
    return (places[:, 2] * np.array(towards)).T


def _read_sofa(path: str | os.PathLike[str]) -> Any:
    try:
        import sofar
    except ImportError as error:
        raise DependencyNotInstalled(
            'sofar is not installed, and reading SOFA files needs it. Run `pip install "auralnav[sofa]"`.'
        ) from error
    sofa = sofar.read_sofa(os.fspath(path), verify=False, verbose=False)
    if sofa.GLOBAL_SOFAConventions != "SimpleFreeFieldHRIR":
        raise ValueError(f"{path}: expected the convention SimpleFreeFieldHRIR, actual: {sofa.GLOBAL_SOFAConventions}")
    for name, expected in (("ListenerView", [1, 0, 0]), ("ListenerUp", [0, 0, 1])):
        actual = _cartesian(np.atleast_2d(getattr(sofa, name)), getattr(sofa, f"{name}_Type", sofa.ListenerView_Type))
        if not np.allclose(actual, expected):
            raise ValueError(f"{path}: expected {name} {expected}, actual: {actual.tolist()}")
    return sofa


@cache
def _kemar() -> MeasuredEars:
    with files("auralnav_gym").joinpath("ears_data/kemar.npz").open("rb") as file, np.load(file) as data:
        directions, left, delays = data["directions"], data["responses"] * data["scale"], data["delays"]
        sample_rate = int(data["sample_rate"])
    # The right ear is the left one's mirror image.
    _, mirrored = cKDTree(directions).query(directions * [1.0, -1.0, 1.0])
    return MeasuredEars(
        directions,
        np.stack([left, left[mirrored]], axis=1),
        np.stack([delays, delays[mirrored]], axis=1),
        sample_rate,
    )
