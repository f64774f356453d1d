from __future__ import annotations

import errno
import http.server
from typing import TYPE_CHECKING, Any

import pytest

from trackverse_cli.download.check import durations_agree
from trackverse_cli.download.errors import RESUMABLE, classify
from trackverse_cli.download.info import check_info, largest_size, whole_length
from trackverse_cli.download.options import is_youtube
from trackverse_cli.download.patience import LONGEST_WAIT_SECONDS, backoff_seconds
from trackverse_cli.download.said import clean_message, retry_after
from trackverse_cli.download.storage import storage_error, storage_problem
from trackverse_cli.errors import LacksError, TryLaterError
from trackverse_cli.reasons import MEANING

if TYPE_CHECKING:
    from pathlib import Path

PLAYER = "Failed to extract any player response"


class YoutubeDLError(Exception):
    """Stands for the downloader's own, which is known by its name."""


class ExtractorError(YoutubeDLError):
    def __init__(self, message: str, expected: bool = True, cause: Any = None) -> None:
        super().__init__(message)
        self.expected = expected
        self.cause = cause
        self.exc_info = (type(cause), cause, None) if cause else (None, None, None)


class GeoRestrictedError(ExtractorError):
    pass


class UnsupportedError(ExtractorError):
    pass


class TransportError(YoutubeDLError):
    pass


class Response:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


class HTTPError(YoutubeDLError):
    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        reason = http.server.BaseHTTPRequestHandler.responses[status][0]
        super().__init__(f"HTTP Error {status}: {reason}")
        self.status = status
        self.response = Response(headers or {})


class OuterError(YoutubeDLError):
    """What arrives: the sentence, and the innermost error in `exc_info`."""

    def __init__(self, message: str, inner: BaseException | None = None) -> None:
        super().__init__(f"ERROR: {message}")
        self.exc_info = (type(inner), inner, None) if inner else (None, None, None)


def youtube(sentence: str, inner: BaseException | None = None) -> BaseException:
    return OuterError(f"[youtube] -aaaaaaaaaa: {sentence}", inner or ExtractorError(sentence))


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("Video unavailable. This video has been removed by the uploader", "permanent"),
        (
            "Video unavailable. This video is no longer available because the YouTube account "
            "associated with this video has been terminated.",
            "permanent",
        ),
        ("This video has been removed for violating YouTube's Terms of Service", "permanent"),
        ("This video is no longer available due to a copyright claim by Somebody", "permanent"),
        ("Private video. Sign in if you\u2019ve been granted access to this video", "access"),
        ("This video is private", "access"),
        ("Join this channel to get access to members-only content like this video", "access"),
        ("Sign in to confirm your age. This video may be inappropriate", "needs-cookies"),
        ("Please sign in. Use --cookies-from-browser or --cookies", "needs-cookies"),
        ("The uploader has not made this video available in your country", "geo"),
        ("It contains content from X, who has blocked it in your country", "geo"),
        ("Video unavailable. This content isn\u2019t available, try again later.", "throttled"),
        ("Sign in to confirm you\u2019re not a bot. Use --cookies for the login", "throttled"),
        ("The current session has been rate-limited by YouTube", "throttled"),
        ("YouTube is requiring a captcha challenge before playback", "throttled"),
        ("Your IP is likely being blocked by YouTube", "throttled"),
        ("This video requires payment to watch", "access"),
        ("This video is only available to Music Premium members", "access"),
        ("This account has been terminated because of multiple claims", "permanent"),
        ("This video is age-restricted and only available on YouTube", "needs-cookies"),
        ("We're processing this video. Check back later.", "later"),
        ("[Errno 101] Network is unreachable", "offline"),
        ("SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "offline"),
        ("Premieres in 40 minutes", "later"),
        ("This live event will begin in 2 days.", "later"),
        ("Video unavailable", "ambiguous"),
        ("No video formats found!", "tool"),
        ("Requested format is not available. Use --list-formats", "tool"),
        ("This video is DRM protected", "tool"),
        (PLAYER, "tool"),
        ("Something that nobody has seen before", "ambiguous"),
    ],
)
def test_the_sentences_of_youtube(sentence: str, reason: str) -> None:
    assert classify(youtube(sentence), [], True)[0] == reason


@pytest.mark.parametrize(
    ("status", "media", "asked_youtube", "reason"),
    [
        (404, False, False, "permanent"),
        (410, False, False, "permanent"),
        (403, False, False, "access"),
        (403, True, False, "transient"),
        (401, False, False, "needs-cookies"),
        (451, False, False, "geo"),
        (429, False, False, "throttled"),
        (500, False, False, "transient"),
        (503, True, False, "transient"),
        (416, True, False, "transient"),
        (407, False, False, "offline"),
        (400, False, False, "ambiguous"),
        (404, True, True, "transient"),
        (403, True, True, "transient"),
        (403, False, True, "tool"),
        (429, False, True, "throttled"),
        (429, True, True, "throttled"),
        (503, False, True, "transient"),
    ],
)
def test_statuses(status: int, media: bool, asked_youtube: bool, reason: str) -> None:
    inner = HTTPError(status)
    where = "unable to download video data" if media else "[x] y: Unable to download webpage"
    assert classify(OuterError(f"{where}: {inner}", inner), [], asked_youtube)[0] == reason


@pytest.mark.parametrize(
    ("warning", "reason"),
    [
        ("[youtube] Unable to download API page: HTTP Error 429: Too Many Requests", "throttled"),
        ("[youtube] Sign in to confirm you\u2019re not a bot", "throttled"),
        ("[youtube] Failed to resolve 'www.youtube.com'", "offline"),
        ("[youtube] Unable to download API page: Read timed out.", "transient"),
        ("[youtube] HTTP Error 502: Bad Gateway", "transient"),
        ("[youtube] HTTP Error 403: Forbidden", "tool"),
        ("[youtube] No supported JavaScript runtime could be found", "tool"),
    ],
)
@pytest.mark.parametrize("sentence", [PLAYER, "Requested format is not available"])
def test_a_summary_is_explained_by_the_warnings(warning: str, reason: str, sentence: str) -> None:
    found, message, _ = classify(youtube(sentence), ["nothing", warning], True)
    assert found == reason
    assert message.startswith(sentence)
    assert reason == "tool" or warning.removeprefix("[youtube] ") in message


def test_warnings_do_not_overrule_a_clear_sentence() -> None:
    assert classify(youtube("Private video"), ["HTTP Error 429"], True)[0] == "access"


def test_a_status_on_the_way_does_not_overrule_a_clear_sentence() -> None:
    error = youtube("Private video", ExtractorError("Private video", cause=HTTPError(403)))
    assert classify(error, [], True)[0] == "access"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OuterError("x", GeoRestrictedError("This video is not available")), "geo"),
        (
            OuterError("Unsupported URL: http://h/x", UnsupportedError("Unsupported URL")),
            "ambiguous",
        ),
        (
            OuterError("Got error: 5 bytes read, 7 more expected. Giving up after 2 retries"),
            "transient",
        ),
        (OuterError("Got error: Read timed out. Giving up after 2 retries"), "transient"),
        (OuterError("The downloaded data is odd", TransportError("odd")), "transient"),
        (OuterError("Failed to resolve 'h' ([Errno -2])", TransportError("x")), "offline"),
        (OuterError("Network is unreachable", TransportError("x")), "offline"),
        (OuterError("[Errno 111] Connection refused", TransportError("x")), "offline"),
        (OuterError("broken", ExtractorError("broken", expected=False)), "tool"),
        (KeyError("videoDetails"), "tool"),
        (TimeoutError(), "transient"),
    ],
)
def test_other_errors(error: BaseException, reason: str) -> None:
    found, message, _ = classify(error, [], False)
    assert found == reason
    assert message


def test_every_reason_is_in_the_vocabulary() -> None:
    assert set(MEANING) > RESUMABLE


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    error = OuterError("x", HTTPError(429, {"Retry-After": value}))
    assert classify(error, [], False, now=100.0)[2] == seconds
    assert retry_after(error, 100.0) == seconds


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("ERROR: [youtube] -aaaaaaaaaa: Video unavailable", "Video unavailable"),
        ("\x1b[0;31mERROR:\x1b[0m [generic] Two\n  lines", "Two lines"),
        (
            "Sign in to confirm you\u2019re not a bot. Use --cookies for x. See  https://h/x",
            "Sign in to confirm you\u2019re not a bot.",
        ),
        ("Broken; please report this issue on  https://h/ , filling out", "Broken"),
        (
            "[x] y: HTTP Error 404: Not Found (caused by <HTTPError 404>)",
            "HTTP Error 404: Not Found",
        ),
        ("Gone at http://me:hush@h:80/x", "Gone at http://h:80/x"),
        ("Proxy socks5h://me:p@ss@h:1080 refused", "Proxy socks5h://h:1080 refused"),
        ("GET https://h/x?sig=abc&pot=def (403)", "GET https://h/x (403)"),
        (
            "GET https://www.youtube.com/watch?v=-aaaaaaaaaa failed",
            "GET https://www.youtube.com/watch?v=-aaaaaaaaaa failed",
        ),
        ("https://h/watch?v=aaaaaaaaaaa&token=hush", "https://h/watch"),
    ],
)
def test_messages_are_one_line_without_advice_and_secrets(text: str, clean: str) -> None:
    assert clean_message(text) == clean


def test_messages_are_short() -> None:
    assert len(clean_message("x" * 5000)) == 400


def test_a_full_disk_is_found_however_deep(tmp_path: Path) -> None:
    full = OSError(errno.EDQUOT, "Disk quota exceeded")
    problem = storage_problem(OuterError("x", ExtractorError("y", cause=full)))
    assert problem is full
    assert isinstance(storage_error(problem, tmp_path), TryLaterError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OuterError("unable to open for writing: [Errno 30] Read-only file system"), LacksError),
        (OuterError("Unable to open file: [Errno 28] No space left. Giving up"), TryLaterError),
        (OuterError("unable to write data", OSError(errno.EIO, "Input/output error")), LacksError),
    ],
)
def test_storage_that_refuses_is_no_hosts_fault(
    error: BaseException, kind: type[Exception], tmp_path: Path
) -> None:
    problem = storage_problem(error)
    assert problem is not None
    assert isinstance(storage_error(problem, tmp_path), kind)


@pytest.mark.parametrize(
    "error",
    [
        OuterError(
            "unable to download video data", ConnectionResetError(errno.ECONNRESET, "reset")
        ),
        OuterError("[Errno 2] in a page", FileNotFoundError(errno.ENOENT, "no")),
        OuterError("x"),
    ],
)
def test_other_errors_are_no_storage_problem(error: BaseException) -> None:
    assert storage_problem(error) is None


def test_backoff_starts_small_doubles_and_ends() -> None:
    for attempt in range(1, 6):
        waits = [backoff_seconds(attempt) for _ in range(50)]
        assert all(2 ** (attempt - 1) <= wait <= 1.5 * 2 ** (attempt - 1) for wait in waits)
        assert len(set(waits)) > 1
    assert backoff_seconds(30) == LONGEST_WAIT_SECONDS


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://www.youtube.com/watch?v=x", True),
        ("https://youtu.be/x", True),
        ("https://www.youtube-nocookie.com/embed/x", True),
        ("https://notyoutube.com/x", False),
        ("https://youtube.com.example.org/x", False),
        ("http://127.0.0.1:80/youtube.com/x", False),
    ],
)
def test_is_youtube(url: str, answer: bool) -> None:
    assert is_youtube(url) is answer


def test_the_largest_size_leaves_out_pictures_sound_and_upscaled_versions() -> None:
    formats = [
        {"format_id": "sb0", "vcodec": "none", "width": 9000, "height": 9000},
        {"format_id": "137-sr", "vcodec": "avc1", "width": 8000, "height": 8000},
        {"format_id": "140", "vcodec": "none", "width": None, "height": None},
        {"format_id": "136", "vcodec": "avc1", "width": 720, "height": 1280},
        {"format_id": "18", "vcodec": "avc1", "width": 360, "height": 640},
        {"format_id": "mp4"},
    ]
    assert largest_size(formats) == (720, 1280)
    assert largest_size(formats[-1:]) is None


@pytest.mark.parametrize(
    ("status", "headers", "length"),
    [
        (200, {"Content-Length": "7"}, 7),
        (200, {"Content-Length": "7", "Content-Encoding": "gzip"}, None),
        (200, {}, None),
        (206, {"Content-Length": "2", "Content-Range": "bytes 5-6/7"}, 7),
        (206, {"Content-Range": "bytes 5-6/*"}, None),
        (304, {"Content-Length": "7"}, None),
    ],
)
def test_the_whole_length(status: int, headers: dict[str, str], length: int | None) -> None:
    assert whole_length(status, headers) == length


def test_an_ordinary_video_is_let_through() -> None:
    info = {"id": "x", "extractor_key": "Generic", "direct": True, "url": "https://h/x"}
    check_info(info, incomplete=False, expected_id=None)
    check_info({"id": "x"}, incomplete=True, expected_id="y")


def test_durations_agree_within_a_second_and_two_percent() -> None:
    assert durations_agree(100, 102)
    assert durations_agree(103, 100)
    assert not durations_agree(96, 100)
    assert not durations_agree(1.0, 2.1)
