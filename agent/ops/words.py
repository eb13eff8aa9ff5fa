"""What a technician reads, in English and in Vietnamese. The language is that of the terminal (LC_ALL, LANG).

Sentences here are whole; what a device or a library said is put behind them as it came.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

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
    "update-proven": ("release {version}: runs, and has proven itself", "bản {version}: đang chạy, đã được kiểm chứng"),
    "update-unproven": (
        "release {version}: is being tried; {proven} comes back if it does not work",
        "bản {version}: đang được thử; nếu không hoạt động, {proven} sẽ được khôi phục",
    ),
    "update-previous": ("release {version}: was there before", "bản {version}: bản trước đó"),
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


def language(environment: Mapping[str, str] = os.environ) -> str:
    """ "vi" for a Vietnamese terminal, "en" for every other."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environment.get(name):
            return "vi" if environment[name].startswith("vi") else "en"
    return "en"


def say(key: str, **values: object) -> str:
    """The sentence in the terminal's language, with its gaps filled."""
    english, vietnamese = _SENTENCES[key]
    return (vietnamese if language() == "vi" else english).format(**values)
