"""What stands on the page, in English and in Vietnamese. What a device or a library said is put behind as it came."""

from __future__ import annotations

from typing import Literal, get_args

Language = Literal["en", "vi"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

WORDS: dict[str, tuple[str, str]] = {
    # ---- around every page ----
    "box": ("Box", "Thiết bị"),
    "skip": ("Skip to the content", "Đến nội dung chính"),
    "menu": ("Pages", "Các trang"),
    "camera": ("Camera {id}", "Máy quay {id}"),
    "log-out": ("Log out", "Đăng xuất"),
    "logged-in": ("{name}, {role}", "{name}, {role}"),
    "role-technician": ("technician", "kỹ thuật viên"),
    "role-viewer": ("may look only", "chỉ được xem"),
    "other-language": ("Tiếng Việt", "English"),
    # ---- login ----
    "log-in": ("Log in", "Đăng nhập"),
    "your-name": ("Your name", "Tên của bạn"),
    "name-why": ("It is written down with what you change.", "Tên được ghi lại cùng với những thay đổi của bạn."),
    "password": ("Password", "Mật khẩu"),
    "login-wrong": ("That password is wrong.", "Sai mật khẩu."),
    "login-locked": (
        "Too many wrong passwords. Wait {minutes} min, then try again.",
        "Sai mật khẩu quá nhiều lần. Hãy đợi {minutes} phút rồi thử lại.",
    ),
    "login-name": (
        "Write your name, up to 40 letters.",
        "Hãy ghi tên của bạn, không quá 40 chữ.",
    ),
    "login-unset": (
        "This box has no password yet. On the box: sudo gateway-agent web password",
        "Thiết bị chưa có mật khẩu. Trên thiết bị: sudo gateway-agent web password",
    ),
    # ---- what can go wrong ----
    "error-title": ("That did not work", "Không thực hiện được"),
    "error-back": ("To the box", "Về trang thiết bị"),
    "error-host": (
        "This box is not known by the name in the address. Use its address in numbers, or write the name into the "
        "configuration: [web] names",
        "Thiết bị không có tên như trong địa chỉ. Hãy dùng địa chỉ bằng số, hoặc ghi tên vào cấu hình: [web] names",
    ),
    "error-origin": (
        "This came from another page than this box's. Load the page again.",
        "Yêu cầu đến từ trang khác, không phải của thiết bị. Hãy tải lại trang.",
    ),
    "error-csrf": ("The page was too old. Load it again.", "Trang đã cũ. Hãy tải lại trang."),
    "error-role": ("Your password is for looking only.", "Mật khẩu của bạn chỉ dùng để xem."),
    "error-missing": ("There is no such page.", "Không có trang này."),
    "error-method": ("A page is not asked for like this.", "Không thể yêu cầu trang theo cách này."),
    "error-size": ("That was too much at once.", "Dữ liệu gửi lên quá lớn."),
    "error-many": ("As many are watching as the box serves.", "Số người xem đã đạt giới hạn của thiết bị."),
    "error-bug": (
        "A bug in the page; the box goes on with its work. The log tells more.",
        "Trang web có lỗi; thiết bị vẫn làm việc bình thường. Xem thêm trong nhật ký.",
    ),
    # ---- the box ----
    "updated": ("as of {time}", "lúc {time}"),
    "cameras": ("Cameras", "Máy quay"),
    "sensors": ("Sensors", "Cảm biến"),
    "outputs": ("Outputs", "Đầu ra"),
    "live": ("Live picture", "Hình trực tiếp"),
    "per-s": ("{n} pictures/s", "{n} hình/giây"),
    "state-open": ("sees", "có hình"),
    "state-opening": ("is being opened", "đang mở"),
    "state-silent": ("gives no pictures", "không có hình"),
    "state-ended": ("the recording is over", "đã hết đoạn ghi"),
    "state-ok": ("fine", "tốt"),
    "state-invalid": ("says what cannot be true", "báo giá trị vô lý"),
    "state-stuck": ("does not move", "giá trị không đổi"),
    "state-silent-sensor": ("does not answer", "không trả lời"),
    "fault-dark": ("dark", "tối"),
    "fault-overexposed": ("overexposed", "quá sáng"),
    "fault-blurred": ("blurred", "mờ"),
    "fault-covered": ("covered", "bị che"),
    "fault-moved": ("moved", "bị xoay lệch"),
    "fault-frozen": ("frozen", "đứng hình"),
    "on": ("on", "bật"),
    "off": ("off", "tắt"),
    "age": ("{age} ago", "{age} trước"),
    "curve": ("last two hours, {lowest} to {highest}", "hai giờ qua, từ {lowest} đến {highest}"),
    "outbox": ("Waiting to be sent", "Chờ gửi"),
    "outbox-rows": ("{n} message(s)", "{n} tin"),
    "outbox-empty": ("nothing", "không có"),
    "outbox-oldest": ("the oldest is from {age} ago", "cũ nhất cách đây {age}"),
    "link": ("Operations centre", "Trung tâm điều hành"),
    "link-up": ("connected to {broker}", "đã kết nối {broker}"),
    "link-down": ("not connected; events are stored", "mất kết nối; sự kiện được lưu lại"),
    "link-none": ("no [[broker]] in the configuration", "cấu hình không có [[broker]]"),
    "clock": ("Clock", "Đồng hồ"),
    "clock-set": ("{time}, set", "{time}, đã đồng bộ"),
    "clock-unset": ("{time}, not set", "{time}, chưa đồng bộ"),
    "heat": ("Processor", "Bộ xử lý"),
    "heat-unknown": ("no thermometer", "không có cảm biến nhiệt"),
    "disk": ("Disk", "Ổ đĩa"),
    "disk-free": ("{size} free", "còn trống {size}"),
    "memory": ("Memory of the agent", "Bộ nhớ của chương trình"),
    "versions": ("Versions", "Phiên bản"),
    "uptime": ("Running for", "Đã chạy"),
    "looks": ("Looks of the detector", "Số lần nhận dạng"),
    "looks-limit": ("up to {n} a second", "tối đa {n} lần/giây"),
    "looks-less": ("only {n} of {max} a second: {causes}", "chỉ {n} trong {max} lần/giây: {causes}"),
    "cause-hot": ("hot", "nóng"),
    "cause-slowed": ("slowed down", "bị giảm tốc"),
    "cause-undervoltage": ("weak supply", "nguồn yếu"),
    "cause-load": ("load", "quá tải"),
    "advice": ("What to do", "Cần làm gì"),
    "advice-none": ("Nothing: no problem was found.", "Không có gì: không tìm thấy lỗi."),
    "advice-wait": ("The box is being looked at …", "Đang kiểm tra thiết bị …"),
    "advice-age": ("looked at {age} ago", "kiểm tra cách đây {age}"),
    "advice-wanted": ("Wanted: {what}", "Cần: {what}"),
    "advice-todo": ("What to do: {what}", "Cách xử lý: {what}"),
    "alerts": ("Alerts since the agent started", "Cảnh báo từ khi chương trình chạy"),
    "alerts-none": ("None.", "Không có."),
    "alert-open": ("goes on", "đang diễn ra"),
    "alert-over": ("lasted {age}", "kéo dài {age}"),
    "alert-picture": ("Picture of: {what}", "Ảnh của: {what}"),
    "alert-no-picture": ("its picture is not kept any more", "ảnh không còn được lưu"),
    "clock-doubtful": ("clock not set", "đồng hồ chưa đồng bộ"),
    "hours": ("Crossings per hour", "Lượt qua vạch mỗi giờ"),
    "hours-table": ("As a table", "Dạng bảng"),
    "hour": ("Hour", "Giờ"),
    "in": ("in", "vào"),
    "out": ("out", "ra"),
    # ---- kinds of alerts ----
    "kind-wrong-way": ("wrong way", "đi ngược chiều"),
    "kind-restricted": ("somebody in a restricted zone", "có người hoặc xe trong vùng cấm"),
    "kind-loitering": ("stays too long", "ở lại quá lâu"),
    "kind-stopped": ("stopped vehicle", "xe dừng trái phép"),
    "kind-speeding": ("too fast", "quá tốc độ"),
    "kind-congestion": ("congestion", "ùn tắc"),
    "kind-crowd": ("crowd", "tụ tập đông người"),
    "kind-left-behind": ("a thing left behind", "vật bị bỏ lại"),
    "kind-removed": ("a thing is gone", "vật bị lấy đi"),
    "kind-camera-silent": ("camera gives no pictures", "máy quay không có hình"),
    "kind-camera-fault": ("camera cannot see", "máy quay không nhìn thấy"),
    "kind-box-strained": ("the box looks less often", "thiết bị nhận dạng thưa hơn"),
    "kind-sensor-limit": ("beyond its limit", "vượt ngưỡng"),
    "kind-input": ("contact is on", "tiếp điểm bật"),
    "kind-sensor-silent": ("sensor does not answer", "cảm biến không trả lời"),
    "kind-sensor-invalid": ("sensor says what cannot be true", "cảm biến báo giá trị vô lý"),
    "kind-sensor-stuck": ("sensor does not move", "giá trị cảm biến không đổi"),
    # ---- classes ----
    "class-person": ("person", "người"),
    "class-bicycle": ("bicycle", "xe đạp"),
    "class-motorcycle": ("motorcycle", "xe máy"),
    "class-car": ("car", "ô tô"),
    "class-bus": ("bus", "xe buýt"),
    "class-truck": ("truck", "xe tải"),
    "class-vehicle": ("vehicle", "xe"),
    # ---- the live picture ----
    "live-of": ("Live picture of camera {id}", "Hình trực tiếp của máy quay {id}"),
    "live-away": ("No picture comes from the camera.", "Máy quay không gửi hình."),
    "live-lost": ("The box does not answer; trying again …", "Thiết bị không trả lời; đang thử lại …"),
    "live-paused": ("paused", "tạm dừng"),
    "layers": ("Show", "Hiện"),
    "layer-boxes": ("boxes", "khung"),
    "layer-tracks": ("paths", "đường đi"),
    "layer-lines": ("lines", "vạch"),
    "layer-zones": ("zones", "vùng"),
    "layer-motion": ("motion", "chuyển động"),
    "layer-masks": ("masks", "vùng che"),
    "meters": ("Aim and focus", "Ngắm và lấy nét"),
    "sharpness": ("Sharpness", "Độ nét"),
    "sharpness-why": (
        "Turn the lens until the bar is full: it shows the sharpest so far as full.",
        "Xoay ống kính cho đến khi thanh đầy: mức nét nhất từ trước đến giờ là đầy thanh.",
    ),
    "sharpness-again": ("Start again", "Đo lại"),
    "light": ("Light", "Ánh sáng"),
    "light-fine": ("fine", "tốt"),
    "light-dark": ("too dark", "quá tối"),
    "light-bright": ("too bright", "quá sáng"),
    "clipped": ("{dark} % black, {bright} % white", "{dark} % đen, {bright} % trắng"),
    "fps": ("Pictures/s", "Hình/giây"),
    "looks-short": ("Looks/s", "Nhận dạng/giây"),
    "latency": ("Delay", "Độ trễ"),
    "size": ("Size", "Kích thước"),
    "counts": ("Counted since the agent started", "Số đếm từ khi chương trình chạy"),
    "line": ("Line", "Vạch"),
    "counts-none": ("No line yet: nothing is counted.", "Chưa có vạch: không đếm gì."),
    # ---- how long ----
    "span-s": ("{n} s", "{n} giây"),
    "span-min": ("{n} min", "{n} phút"),
    "span-h": ("{n} h", "{n} giờ"),
    "span-d": ("{n} days", "{n} ngày"),
}


def words(key: str, language: Language, **values: object) -> str:
    """The sentence in a language, with its gaps filled."""
    return WORDS[key][LANGUAGES.index(language)].format(**values)


def span(seconds: float, language: Language) -> str:
    """How long, in one unit, so that a glance tells it."""
    for key, unit_s, below_s in (("span-s", 1, 120), ("span-min", 60, 7200), ("span-h", 3600, 172_800)):
        if seconds < below_s:
            return words(key, language, n=round(seconds / unit_s))
    return words("span-d", language, n=round(seconds / 86_400))


def preferred(accept_language: str) -> Language:
    """Of what a browser says it takes, the first that the page speaks: "vi-VN,vi;q=0.9,en;q=0.8" → vi."""
    for entry in accept_language[:200].lower().split(","):
        for known in LANGUAGES:
            if entry.strip().startswith(known):
                return known
    return "en"
