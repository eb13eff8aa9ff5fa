"""What a technician reads, in English and in Vietnamese. The language is that of the terminal (LC_ALL, LANG), or the
one that is being spoken (`speaking`) to somebody who is not at a terminal.

Sentences here are whole; what a device or a library said is put behind them as it came.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_SENTENCES: dict[str, tuple[str, str]] = {
    "config-ok": (
        "configuration {path}: fine, {cameras} camera(s), {lines} line(s), {zones} zone(s), {sensors} sensor(s)",
        "cấu hình {path}: tốt, {cameras} máy quay, {lines} vạch, {zones} vùng, {sensors} cảm biến",
    ),
    "model-ok": (
        "model {label}: fine, on {runtime}, one look takes {ms:.0f} ms here",
        "mô hình {label}: tốt, chạy trên {runtime}, một lần nhận dạng mất {ms:.0f} ms trên máy này",
    ),
    "camera-ok": (
        "camera {id}: fine, {width} x {height}, {codec}, first picture after {seconds:.1f} s",
        "máy quay {id}: tốt, {width} x {height}, {codec}, có hình đầu tiên sau {seconds:.1f} giây",
    ),
    "camera-differs": (
        "camera {id}: asked for {asked}, it gives {granted}; write what it gives, or another size it offers",
        "máy quay {id}: yêu cầu {asked} nhưng máy cho {granted}; hãy ghi đúng kích thước máy cho",
    ),
    "camera-bad": ("camera {id}: PROBLEM: {why}", "máy quay {id}: LỖI: {why}"),
    "camera-refused": (
        "camera {id}: PROBLEM: it answers but refuses us; check user, password and stream path: {why}",
        "máy quay {id}: LỖI: máy trả lời nhưng từ chối; kiểm tra tên, mật khẩu và đường dẫn: {why}",
    ),
    "camera-no-rule": (
        "camera {id}: no line and no zone yet: it counts nothing",
        "máy quay {id}: chưa có vạch hay vùng nào: sẽ không đếm gì",
    ),
    "board-ok": ("board: fine, {celsius:.0f} °C", "bo mạch: tốt, {celsius:.0f} °C"),
    "board-unknown": (
        "board: fine, as far as it tells: it has no thermometer",
        "bo mạch: tốt theo những gì đọc được: không có cảm biến nhiệt",
    ),
    "board-hot": (
        "board: PROBLEM: hot, {celsius:.0f} °C; above {limit:.0f} °C the agent looks less often",
        "bo mạch: LỖI: nóng, {celsius:.0f} °C; trên {limit:.0f} °C thiết bị sẽ nhận dạng thưa hơn",
    ),
    "board-slowed": (
        "board: PROBLEM: it slows its processor down, for heat or a weak supply; the agent looks less often",
        "bo mạch: LỖI: bộ xử lý bị giảm tốc vì nóng hoặc nguồn yếu; thiết bị sẽ nhận dạng thưa hơn",
    ),
    "board-undervoltage": (
        "board: PROBLEM: the voltage of its supply is too low; the agent looks less often",
        "bo mạch: LỖI: điện áp nguồn quá thấp; thiết bị sẽ nhận dạng thưa hơn",
    ),
    "board-load": (
        "board: PROBLEM: the detector cannot keep up with what the cameras ask for; the agent looks less often",
        "bo mạch: LỖI: bộ nhận dạng không theo kịp yêu cầu của các máy quay; thiết bị sẽ nhận dạng thưa hơn",
    ),
    "budget-less": (
        "inferences a second are fewer than the {max:g} of the configuration until that is over",
        "số lần nhận dạng mỗi giây sẽ ít hơn mức {max:g} trong cấu hình cho đến khi hết sự cố",
    ),
    "budget-whole": (
        "inferences a second are {max:g} again, as in the configuration",
        "số lần nhận dạng mỗi giây đã trở lại mức {max:g} như trong cấu hình",
    ),
    "sensor-ok": (
        "sensor {id}: fine, {values}",
        "cảm biến {id}: tốt, {values}",
    ),
    "sensor-quiet": (
        "sensor {id}: open, but it told nothing in {seconds:.0f} s; it may have nothing to tell",
        "cảm biến {id}: đã mở nhưng không gửi gì trong {seconds:.0f} giây; có thể không có gì để báo",
    ),
    "sensor-bad": ("sensor {id}: PROBLEM: {why}", "cảm biến {id}: LỖI: {why}"),
    "sensor-absurd": (
        "sensor {id}: PROBLEM: it answers with what cannot be true; no reading of it would be sent: {why}",
        "cảm biến {id}: LỖI: trả lời giá trị không thể đúng; sẽ không gửi số đo nào: {why}",
    ),
    "sensor-hangs": (
        "sensor {id}: PROBLEM: its driver has not come back for {seconds:.0f} s; unplug it and plug it in again",
        "cảm biến {id}: LỖI: trình điều khiển không phản hồi trong {seconds:.0f} giây; hãy rút ra và cắm lại",
    ),
    "output-ok": ("output {id}: fine, switched off", "đầu ra {id}: tốt, đang tắt"),
    "output-bad": ("output {id}: PROBLEM: {why}", "đầu ra {id}: LỖI: {why}"),
    "broker-ok": ("broker {broker}: fine, it lets us in", "máy chủ MQTT {broker}: tốt, cho phép kết nối"),
    "broker-bad": (
        "broker {broker}: PROBLEM: {why}; the agent would store its events and go on trying",
        "máy chủ MQTT {broker}: LỖI: {why}; thiết bị sẽ lưu sự kiện và tiếp tục thử lại",
    ),
    "broker-none": (
        "no [[broker]] in the configuration: events are stored on the box only",
        "cấu hình không có [[broker]]: sự kiện chỉ được lưu trên thiết bị",
    ),
    "outbox-ok": ("outbox {path}: fine, {mb} MB free on its disk", "hàng đợi {path}: tốt, ổ đĩa còn trống {mb} MB"),
    "outbox-bad": (
        "outbox {path}: PROBLEM: {why}; wanted a folder on a lasting disk that the service's user may write",
        "hàng đợi {path}: LỖI: {why}; cần một thư mục trên ổ đĩa mà dịch vụ được phép ghi",
    ),
    "evidence-ok": ("pictures {path}: fine, {mb} MB free on its disk", "ảnh {path}: tốt, ổ đĩa còn trống {mb} MB"),
    "evidence-bad": (
        "pictures {path}: PROBLEM: {why}; alerts would go without theirs",
        "ảnh {path}: LỖI: {why}; cảnh báo sẽ được gửi không kèm ảnh",
    ),
    "clock-ok": ("clock: fine, set from the network", "đồng hồ: tốt, đã đồng bộ qua mạng"),
    "clock-unset": (
        "clock: not set from the network yet; events are corrected once it is",
        "đồng hồ: chưa đồng bộ qua mạng; thời gian sự kiện sẽ được sửa khi đồng bộ",
    ),
    "doctor-problem": ("PROBLEM: {about}: {found}", "LỖI: {about}: {found}"),
    "doctor-note": ("note: {about}: {found}", "lưu ý: {about}: {found}"),
    "doctor-wanted": ("    wanted: {wanted}", "    cần: {wanted}"),
    "doctor-todo": ("    what to do: {todo}", "    cách xử lý: {todo}"),
    "ended-code": ("exit code {code} ({result})", "mã thoát {code} ({result})"),
    "ended-signal": ("ended by {name}", "bị dừng bởi {name}"),
    "ended-watchdog": ("it stood still, and the watchdog ended it", "bị treo và watchdog đã dừng"),
    "ended-memory": ("ended by the kernel for want of memory", "bị nhân Linux dừng vì thiếu bộ nhớ"),
    "report-title": ("commissioning report of {box} at {site}", "biên bản lắp đặt {box} tại {site}"),
    "report-written": (
        "report: {path}; the service sends it to the operations centre",
        "biên bản: {path}; dịch vụ sẽ gửi về trung tâm",
    ),
    "report-bad": (
        "report: PROBLEM: {path} cannot be written: {why}",
        "biên bản: LỖI: không ghi được {path}: {why}",
    ),
    "identity-none": (
        "identity: {name} has no certificate yet in {folder}; get one: gateway-agent identity enrol",
        "định danh: {name} chưa có chứng thư trong {folder}; hãy lấy: gateway-agent identity enrol",
    ),
    "identity-is": (
        "identity: {name}, certified by {issuer} from {begin} to {until}, serial {serial}, SHA-256 {fingerprint}",
        "định danh: {name}, do {issuer} cấp, từ {begin} đến {until}, số {serial}, SHA-256 {fingerprint}",
    ),
    "identity-fine": (
        "identity: fine, valid for {days:.0f} more days",
        "định danh: tốt, còn hiệu lực {days:.0f} ngày",
    ),
    "identity-due": (
        "identity: valid for {days:.0f} more days; it is time to renew: gateway-agent identity renew",
        "định danh: còn hiệu lực {days:.0f} ngày; đã đến lúc gia hạn: gateway-agent identity renew",
    ),
    "identity-over": (
        "identity: PROBLEM: the certificate has expired; get a new token and run: gateway-agent identity enrol",
        "định danh: LỖI: chứng thư đã hết hạn; hãy xin mã mới và chạy: gateway-agent identity enrol",
    ),
    "identity-other": (
        "identity: PROBLEM: the configuration calls this box {name}; correct [box], or enrol under the new name",
        "định danh: LỖI: cấu hình gọi thiết bị này là {name}; hãy sửa [box] hoặc đăng ký lại với tên mới",
    ),
    "identity-clock": (
        "identity: whether it is valid cannot be told: the clock is not set from the network yet",
        "định danh: chưa biết còn hiệu lực hay không: đồng hồ chưa đồng bộ qua mạng",
    ),
    "identity-request": (
        "identity: {path} is the request of {name}; have it signed, then: gateway-agent identity enrol --certificate",
        "định danh: {path} là yêu cầu của {name}; hãy đem ký rồi chạy: gateway-agent identity enrol --certificate",
    ),
    "identity-token-ask": ("one-time token: ", "mã dùng một lần: "),
    "identity-enrolled": (
        "identity: {name} is certified by {issuer} until {until}",
        "định danh: {name} đã được {issuer} cấp chứng thư đến {until}",
    ),
    "identity-renewed": (
        "identity: renewed, valid until {until}; the service uses it from its next connection on",
        "định danh: đã gia hạn đến {until}; dịch vụ sẽ dùng từ lần kết nối tiếp theo",
    ),
    "identity-not-due": (
        "identity: valid until {until}; not yet time to renew",
        "định danh: có hiệu lực đến {until}; chưa đến lúc gia hạn",
    ),
    "identity-unreachable": (
        "identity: PROBLEM: the authority cannot be asked: {why}; what there was stays in use",
        "định danh: LỖI: không hỏi được nơi cấp chứng thư: {why}; chứng thư cũ vẫn được dùng",
    ),
    "identity-untrusted": (
        "identity: PROBLEM: this is not the authority that was meant: {why}; ask the centre for its certificate",
        "định danh: LỖI: không đúng nơi cấp chứng thư: {why}; hãy hỏi trung tâm chứng thư gốc",
    ),
    "identity-refused": (
        "identity: PROBLEM: the authority refuses: {why}; a token serves one box, once, for some days: get a new one",
        "định danh: LỖI: nơi cấp từ chối: {why}; mỗi mã chỉ dùng cho một thiết bị, một lần, vài ngày: hãy xin mã mới",
    ),
    "identity-wait": (
        "identity: not yet: {why}; the same command goes on from here",
        "định danh: chưa được: {why}; chạy lại đúng lệnh này để tiếp tục",
    ),
    "identity-unusable": (
        "identity: PROBLEM: what came cannot be used: {why}; what there was stays in use",
        "định danh: LỖI: chứng thư nhận được không dùng được: {why}; chứng thư cũ vẫn được dùng",
    ),
    "identity-files": ("identity: PROBLEM: on this box: {why}", "định danh: LỖI: trên thiết bị này: {why}"),
    "identity-broker": (
        "identity: PROBLEM: the new certificate waits for a broker that takes it: {why}; the old one stays in use",
        "định danh: LỖI: chứng thư mới chờ máy chủ MQTT chấp nhận: {why}; chứng thư cũ vẫn được dùng",
    ),
    "identity-by-hand": (
        "identity: PROBLEM: it is time to renew by hand: {why}: gateway-agent identity request",
        "định danh: LỖI: đã đến lúc gia hạn bằng tay: {why}: gateway-agent identity request",
    ),
    "update-proven": ("release {version}: runs, and has proven itself", "bản {version}: đang chạy, đã được kiểm chứng"),
    "update-unproven": (
        "release {version}: is being tried; {proven} comes back if it does not work",
        "bản {version}: đang được thử; nếu không hoạt động, {proven} sẽ được khôi phục",
    ),
    "update-previous": ("release {version}: was there before", "bản {version}: bản trước đó"),
    "audit-fine": (
        "audit log: whole, {entries} entries, {first} to {last}; the last one's hash is {hash}",
        "nhật ký kiểm tra: nguyên vẹn, {entries} mục, từ {first} đến {last}; mã băm của mục cuối là {hash}",
    ),
    "audit-empty": ("audit log: nothing in {folder} yet", "nhật ký kiểm tra: chưa có gì trong {folder}"),
    "audit-broken": (
        "audit log: PROBLEM after {entries} entries that are fine: {why}",
        "nhật ký kiểm tra: LỖI sau {entries} mục hợp lệ: {why}",
    ),
    "audit-differs": (
        "audit log: PROBLEM: entry {n} is {found}, and the centre has {wanted}: the log was written anew or cut off",
        "nhật ký kiểm tra: LỖI: mục {n} là {found}, còn trung tâm có {wanted}: nhật ký đã bị ghi lại hoặc cắt bớt",
    ),
    "update-none": (
        "no release in {root}; this is agent {version}, installed otherwise",
        "không có bản nào trong {root}; đây là phần mềm {version}, được cài bằng cách khác",
    ),
    "update-under-way": ("{file}: under way ({phase})", "{file}: đang thực hiện ({phase})"),
    "update-fine": ("{file}: fine, {what}, signed by {signers}", "{file}: hợp lệ, {what}, người ký: {signers}"),
    "update-clock": (
        "the clock is not set: nobody can tell whether this file has expired; it would be taken, and reported so",
        "đồng hồ chưa đặt: không biết tệp đã hết hạn chưa; tệp vẫn được nhận và được báo cáo như vậy",
    ),
    "update-accepted": (
        "{file}: {what} is installed and must now prove itself; leave the power on {why}",
        "{file}: {what} đã cài và đang được kiểm chứng; đừng tắt nguồn {why}",
    ),
    "update-confirmed": ("{file}: {what} works and stays {why}", "{file}: {what} hoạt động tốt và được giữ lại {why}"),
    "update-refused": ("{file}: REFUSED, nothing was changed: {why}", "{file}: TỪ CHỐI, không thay đổi gì: {why}"),
    "update-rolled-back": (
        "{file}: {what} did not work, what was before is back: {why}",
        "{file}: {what} không hoạt động, đã khôi phục bản trước: {why}",
    ),
    "update-fetched": (
        "{file}: fetched from the stick; gateway-agent update status tells what becomes of it",
        "{file}: đã chép từ USB; xem kết quả bằng gateway-agent update status",
    ),
    "update-no-files": ("{device}: no file {files} on it", "{device}: không có tệp {files} nào"),
    "web-password-ask": (
        "new password, ten characters or more: ",
        "mật khẩu mới, từ mười ký tự trở lên: ",
    ),
    "web-password-again": ("the same once more: ", "nhập lại lần nữa: "),
    "web-password-differs": (
        "PROBLEM: the two differ; nothing was changed",
        "LỖI: hai lần nhập khác nhau; chưa thay đổi gì",
    ),
    "web-password-short": (
        "PROBLEM: wanted ten characters or more, and at most 128",
        "LỖI: cần từ mười đến 128 ký tự",
    ),
    "web-password-weak": (
        "PROBLEM: wanted five different characters or more",
        "LỖI: cần ít nhất năm ký tự khác nhau",
    ),
    "web-password-set": (
        "password: set, in {path}; sessions with the one before are over",
        "mật khẩu: đã đặt, trong {path}; các phiên dùng mật khẩu cũ đã kết thúc",
    ),
    "web-password-is": (
        "password: {password} (it is not shown again)",
        "mật khẩu: {password} (sẽ không hiện lại)",
    ),
    "web-at": ("page: {url}", "trang: {url}"),
    "web-everywhere": (
        "it answers at every address of the box; write one of them in its place",
        "trang trả lời ở mọi địa chỉ của thiết bị; hãy dùng một trong các địa chỉ đó",
    ),
    "web-certificate": (
        "certificate: SHA-256 {fingerprint}; a browser that warns shows the same ({path})",
        "chứng thư: SHA-256 {fingerprint}; khi cảnh báo, trình duyệt phải hiện đúng mã này ({path})",
    ),
    "web-certificate-none": (
        "certificate: none yet; the service makes one when it starts",
        "chứng thư: chưa có; dịch vụ sẽ tạo khi khởi động",
    ),
    "web-password-there": ("password of the {role}: set ({path})", "mật khẩu {role}: đã đặt ({path})"),
    "web-password-none": (
        "password of the {role}: PROBLEM: none that can be used in {path}; set one: sudo gateway-agent web password",
        "mật khẩu {role}: LỖI: không có mật khẩu dùng được trong {path}; hãy đặt: sudo gateway-agent web password",
    ),
    "all-fine": ("everything is fine", "mọi thứ đều tốt"),
    "problems": ("{n} problem(s) found", "có {n} lỗi"),
    "no-cameras": (
        "no camera found; one in the network that knows no ONVIF needs its address, rtsp:// or http://",
        "không tìm thấy máy quay nào; máy quay mạng không hỗ trợ ONVIF cần địa chỉ rtsp:// hoặc http://",
    ),
    "onvif-login": (
        "a camera tells its streams to a user only: gateway-agent devices --credentials FILE",
        "có máy quay chỉ cho biết luồng hình khi đăng nhập: gateway-agent devices --credentials FILE",
    ),
    "paste-sensors": (
        "for sensors there are these; what a device measures, its manual tells:",
        "các cổng dùng được cho cảm biến; thiết bị đo gì thì xem tài liệu của nó:",
    ),
    "accelerators": (
        "what could do the detector's work beside the processor:",
        "thiết bị tăng tốc có thể thay bộ xử lý nhận dạng:",
    ),
    "looked-for": ("looked for and not found: {what}", "đã tìm nhưng không thấy: {what}"),
    "paste": (
        "paste what you need into the configuration, then draw lines and run `gateway-agent check`:",
        "chép phần cần dùng vào tệp cấu hình, thêm vạch rồi chạy `gateway-agent check`:",
    ),
}


_spoken: ContextVar[str | None] = ContextVar("spoken", default=None)


@contextmanager
def speaking(which: str) -> Iterator[None]:
    """In this thread or task, for so long: "vi" or "en", whatever the terminal's language is."""
    token = _spoken.set(which)
    try:
        yield
    finally:
        _spoken.reset(token)


def language(environment: Mapping[str, str] = os.environ) -> str:
    """ "vi" for a Vietnamese terminal, "en" for every other."""
    if (spoken := _spoken.get()) is not None:
        return spoken
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environment.get(name):
            return "vi" if environment[name].startswith("vi") else "en"
    return "en"


def say(key: str, **values: object) -> str:
    """The sentence in the terminal's language, with its gaps filled."""
    english, vietnamese = _SENTENCES[key]
    return (vietnamese if language() == "vi" else english).format(**values)
