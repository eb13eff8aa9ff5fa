"""What `gateway-agent doctor` can find: for each what is so, what should be, and what to do, in both languages.

The order of KINDS is the order of importance: what explains the rest comes first, then what loses events.
What a device or a library said is put behind our words as it came ({why}).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["problem", "note"]
"""problem: somebody has to act, exit code 1. note: worth knowing."""

Both = tuple[str, str]
"""English, Vietnamese."""


@dataclass(frozen=True, slots=True)
class Kind:
    level: Level
    found: Both
    wanted: Both
    todo: Both


NOUNS: dict[str, Both] = {
    "board": ("board", "bo mạch"),
    "broker": ("broker", "máy chủ MQTT"),
    "camera": ("camera", "máy quay"),
    "cert": ("certificate", "chứng thư"),
    "clock": ("clock", "đồng hồ"),
    "config": ("configuration", "cấu hình"),
    "disk": ("disk", "ổ đĩa"),
    "doctor": ("doctor", "doctor"),
    "evidence": ("pictures", "ảnh"),
    "memory": ("memory", "bộ nhớ"),
    "model": ("model", "mô hình"),
    "outbox": ("outbox", "hàng đợi"),
    "output": ("output", "đầu ra"),
    "power": ("power supply", "nguồn điện"),
    "secret": ("secret file", "tệp bí mật"),
    "sensor": ("sensor", "cảm biến"),
    "service": ("service", "dịch vụ"),
}
"""What a kind is about: the first part of its key."""

_BUNDLE: Both = (
    "if it stays, send the file that this writes: sudo gateway-agent doctor --bundle box.tar.gz",
    "nếu vẫn còn, gửi tệp do lệnh này tạo: sudo gateway-agent doctor --bundle box.tar.gz",
)
_RESTART: Both = (
    "sudo systemctl restart gateway-agent; " + _BUNDLE[0],
    "sudo systemctl restart gateway-agent; " + _BUNDLE[1],
)
_RUNS: Both = ("a running service", "dịch vụ đang chạy")
_LASTING: Both = ("a card or disk without errors", "thẻ nhớ hoặc ổ đĩa không có lỗi")
_REPLACE: Both = (
    "replace the card or disk soon; what is on it may be lost",
    "sớm thay thẻ nhớ hoặc ổ đĩa; dữ liệu có thể bị mất",
)
_LET_IN: Both = ("a broker that lets this box in", "máy chủ MQTT cho phép thiết bị kết nối")
_REACHED: Both = ("an address that answers", "địa chỉ có trả lời")
_PICTURES: Both = ("pictures", "có hình")
_VALID: Both = ("a certificate that is valid today", "chứng thư còn hiệu lực")
_OPERATIONS: Both = (
    "tell the operations centre: the broker's certificate must be mended there; never switch the check off",
    "báo trung tâm điều hành: phải sửa chứng thư ở máy chủ; không bao giờ tắt kiểm tra chứng thư",
)
_CABLE: Both = (
    "is it switched on? Look at cable and switch, and at the address in the configuration",
    "thiết bị có bật không? Kiểm tra cáp, bộ chuyển mạch và địa chỉ trong cấu hình",
)
_RENEW: Both = (
    "sudo -u gateway-agent gateway-agent identity renew, or ask the operations centre for a new one",
    "sudo -u gateway-agent gateway-agent identity renew, hoặc xin trung tâm điều hành chứng thư mới",
)
_SENSOR: Both = ("a sensor that answers", "cảm biến có trả lời")
_SUPPLY: Both = (
    "a stronger supply, a shorter or thicker cable; measure the voltage at the board under load",
    "dùng nguồn mạnh hơn, cáp ngắn hoặc to hơn; đo điện áp tại bo mạch khi có tải",
)
_COOL: Both = (
    "shade, air, a fan, a larger heat sink; is the cabinet's filter clogged?",
    "che nắng, thông gió, quạt, tản nhiệt lớn hơn; bộ lọc của tủ có bị tắc không?",
)

KINDS: dict[str, Kind] = {
    # ---- what explains everything else ----
    "config-wrong": Kind(
        "problem",
        ("the configuration cannot be used: {why}", "không dùng được cấu hình: {why}"),
        ("a configuration without mistakes", "cấu hình không có lỗi"),
        (
            "correct it, then sudo systemctl restart gateway-agent; nothing of what it names could be looked at",
            "sửa lại rồi sudo systemctl restart gateway-agent; chưa kiểm tra được những gì nêu trong đó",
        ),
    ),
    "config-unreadable": Kind(
        "problem",
        ("this user may not read {path}", "người dùng này không được đọc {path}"),
        ("a user that may", "người dùng có quyền"),
        ("sudo gateway-agent doctor", "sudo gateway-agent doctor"),
    ),
    "clock-absurd": Kind(
        "problem",
        (
            "the clock says {date}, before this program was made",
            "đồng hồ chỉ {date}, trước khi chương trình này ra đời",
        ),
        ("the right time; certificates are judged by it", "giờ đúng; chứng thư được kiểm tra theo giờ này"),
        (
            'let the box reach a time server (timedatectl), or set it by hand: sudo date -s "2026-01-31 12:00"',
            'cho thiết bị kết nối máy chủ thời gian (timedatectl), hoặc đặt tay: sudo date -s "2026-01-31 12:00"',
        ),
    ),
    "disk-readonly": Kind(
        "problem",
        ("the disk of {path} can only be read", "ổ đĩa của {path} chỉ đọc được"),
        ("a disk that can be written", "ổ đĩa ghi được"),
        (
            "the kernel does so after errors: look at the next lines, back up, replace the card; if it was mounted so "
            "on purpose, put the outbox on another disk",
            "nhân Linux làm vậy khi có lỗi: xem các dòng sau, sao lưu, thay thẻ nhớ; nếu cố ý gắn chỉ đọc thì đặt hàng "
            "đợi ở ổ đĩa khác",
        ),
    ),
    "disk-full": Kind(
        "problem",
        (
            "{free_mb} MB free on the disk of {path}, {percent} % of it",
            "ổ đĩa của {path} còn {free_mb} MB, {percent} %",
        ),
        ("{wanted_mb} MB free", "còn trống {wanted_mb} MB"),
        (
            "delete what is not needed (sudo journalctl --vacuum-size=50M; ls in {path}), or lower max_mb of "
            "[outbox] and [evidence]",
            "xóa những gì không cần (sudo journalctl --vacuum-size=50M; xem trong {path}), hoặc giảm max_mb của "
            "[outbox] và [evidence]",
        ),
    ),
    "disk-no-names": Kind(
        "problem",
        (
            "the disk of {path} has no room for more files: {free} left",
            "ổ đĩa của {path} hết chỗ cho tệp mới: còn {free}",
        ),
        ("room for {wanted} files", "chỗ cho {wanted} tệp"),
        ("find the folder with very many files and empty it", "tìm thư mục có quá nhiều tệp và dọn đi"),
    ),
    # ---- the service ----
    "service-config": Kind(
        "problem",
        (
            "the service does not start: at its last start the configuration or model pack was wrong (exit code "
            "{code})",
            "dịch vụ không chạy: lần khởi động cuối, cấu hình hoặc gói mô hình bị sai (mã thoát {code})",
        ),
        _RUNS,
        (
            "mend what is said here of the configuration, then sudo systemctl restart gateway-agent",
            "sửa những gì nêu ở đây về cấu hình, rồi sudo systemctl restart gateway-agent",
        ),
    ),
    "service-failed": Kind(
        "problem",
        ("the service has ended and is not running: {how}", "dịch vụ đã dừng: {how}"),
        _RUNS,
        _RESTART,
    ),
    "service-stopped": Kind(
        "problem",
        ("the service is not running: {state}", "dịch vụ không chạy: {state}"),
        _RUNS,
        ("sudo systemctl enable --now gateway-agent", "sudo systemctl enable --now gateway-agent"),
    ),
    "service-waits": Kind(
        "problem",
        (
            "the service ends again and again and waits for its next start: {how}, {restarts} restart(s)",
            "dịch vụ liên tục dừng và đang chờ khởi động lại: {how}, {restarts} lần",
        ),
        _RUNS,
        (
            "journalctl -u gateway-agent -n 50 shows why; " + _BUNDLE[0],
            "journalctl -u gateway-agent -n 50 cho biết lý do; " + _BUNDLE[1],
        ),
    ),
    "service-flaps": Kind(
        "problem",
        (
            "the service was started again by itself {restarts} time(s), the last {minutes} min ago",
            "dịch vụ tự khởi động lại {restarts} lần, lần cuối {minutes} phút trước",
        ),
        ("a service that keeps running", "dịch vụ chạy liên tục"),
        (
            "journalctl -u gateway-agent -n 50 shows why; " + _BUNDLE[0],
            "journalctl -u gateway-agent -n 50 cho biết lý do; " + _BUNDLE[1],
        ),
    ),
    "service-silent": Kind(
        "problem",
        (
            "the service runs, but has not written how it is for {seconds} s",
            "dịch vụ chạy nhưng {seconds} giây không báo trạng thái",
        ),
        ("a report every {interval_s} s", "báo trạng thái mỗi {interval_s} giây"),
        _RESTART,
    ),
    "model-wrong": Kind(
        "problem",
        ("the model pack cannot be used: {why}", "không dùng được gói mô hình: {why}"),
        ("a whole model pack", "gói mô hình nguyên vẹn"),
        ("install the pack, or the agent, again", "cài lại gói mô hình hoặc phần mềm"),
    ),
    # ---- board and disk ----
    "power-low": Kind(
        "problem",
        ("the voltage of the board's supply is too low", "điện áp nguồn của bo mạch quá thấp"),
        ("a supply that holds its voltage under load", "nguồn giữ được điện áp khi có tải"),
        _SUPPLY,
    ),
    "disk-errors": Kind(
        "problem",
        ("{where} reports errors: {why}", "{where} báo lỗi: {why}"),
        _LASTING,
        _REPLACE,
    ),
    "disk-worn": Kind(
        "problem",
        ("{where} is worn: {percent} % of its life is used", "{where} đã mòn: dùng hết {percent} % tuổi thọ"),
        ("less than 90 %", "dưới 90 %"),
        _REPLACE,
    ),
    "memory-killed": Kind(
        "problem",
        (
            "the kernel ended a program for want of memory: {why}",
            "nhân Linux đã dừng một chương trình vì thiếu bộ nhớ: {why}",
        ),
        ("memory for all that runs", "đủ bộ nhớ cho mọi chương trình"),
        (
            "fewer or smaller cameras (a sub-stream), or end what else runs on the box; free -m shows it",
            "giảm số hoặc kích thước máy quay (luồng phụ), hoặc tắt chương trình khác; xem bằng free -m",
        ),
    ),
    "memory-low": Kind(
        "problem",
        ("{free_mb} MB of {total_mb} MB memory are free", "còn {free_mb} MB trong {total_mb} MB bộ nhớ"),
        ("{wanted_mb} MB", "{wanted_mb} MB"),
        (
            "fewer or smaller cameras (a sub-stream), or end what else runs on the box; free -m shows it",
            "giảm số hoặc kích thước máy quay (luồng phụ), hoặc tắt chương trình khác; xem bằng free -m",
        ),
    ),
    "board-hot": Kind(
        "problem",
        (
            "the processor is at {celsius} °C; the agent looks less often",
            "bộ xử lý ở {celsius} °C; thiết bị nhận dạng thưa hơn",
        ),
        ("less than {limit} °C", "dưới {limit} °C"),
        _COOL,
    ),
    "board-slowed": Kind(
        "problem",
        ("the processor is slowed down, for heat or a weak supply", "bộ xử lý bị giảm tốc vì nóng hoặc nguồn yếu"),
        ("a processor at full speed", "bộ xử lý chạy hết tốc độ"),
        _COOL,
    ),
    # ---- secrets and certificates ----
    "cert-expired": Kind(
        "problem",
        ("{path} was valid until {date}", "{path} chỉ có hiệu lực đến {date}"),
        _VALID,
        _RENEW,
    ),
    "cert-not-yet": Kind(
        "problem",
        (
            "{path} is valid from {date} on only; the clock says {now}",
            "{path} có hiệu lực từ {date}; đồng hồ chỉ {now}",
        ),
        _VALID,
        (
            "is the clock right? (timedatectl) If it is, the certificate was made with a wrong one",
            "đồng hồ có đúng không? (timedatectl) Nếu đúng thì chứng thư được tạo với giờ sai",
        ),
    ),
    "cert-name": Kind(
        "problem",
        ("{path} is for {is_for}", "{path} là của {is_for}"),
        ("a certificate for {wanted}, as [box] calls this box", "chứng thư cho {wanted}, đúng tên trong [box]"),
        (
            "correct site and id in [box], or enrol this box under its new name: gateway-agent identity enrol",
            "sửa site và id trong [box], hoặc đăng ký lại với tên mới: gateway-agent identity enrol",
        ),
    ),
    "cert-unusable": Kind(
        "problem",
        ("{why}", "{why}"),
        ("files that the link to the broker can use", "các tệp dùng được để kết nối máy chủ"),
        (
            "correct the path in [[broker]], or put the file there",
            "sửa đường dẫn trong [[broker]], hoặc đặt tệp vào đó",
        ),
    ),
    "cert-soon": Kind(
        "problem",
        ("{path} expires in {days} day(s), on {date}", "{path} hết hạn sau {days} ngày, ngày {date}"),
        (
            "{wanted} days at least; it is renewed before that by itself",
            "ít nhất {wanted} ngày; thường tự gia hạn trước đó",
        ),
        _RENEW,
    ),
    "secret-open": Kind(
        "problem",
        (
            "other users of the box may read {path} (mode {mode})",
            "người dùng khác trên máy đọc được {path} (quyền {mode})",
        ),
        ("a file that the service alone may read (0600)", "tệp chỉ dịch vụ được đọc (0600)"),
        (
            "sudo chown gateway-agent {path}; sudo chmod 600 {path}; then change the password: others may know it",
            "sudo chown gateway-agent {path}; sudo chmod 600 {path}; rồi đổi mật khẩu: người khác có thể đã biết",
        ),
    ),
    "secret-unreadable": Kind(
        "problem",
        ("{why}", "{why}"),
        ("a file that the service can use", "tệp mà dịch vụ dùng được"),
        (
            "sudo chown gateway-agent {path}; sudo chmod 600 {path}; write what is wanted into it",
            "sudo chown gateway-agent {path}; sudo chmod 600 {path}; ghi nội dung cần có vào đó",
        ),
    ),
    # ---- the broker ----
    "broker-name": Kind(
        "problem",
        ("the name {host} is not known", "không phân giải được tên {host}"),
        _REACHED,
        (
            "is the network up, and the name server? Try: resolvectl query {host}; or write the broker's address",
            "mạng và máy chủ DNS có hoạt động không? Thử: resolvectl query {host}; hoặc ghi địa chỉ IP",
        ),
    ),
    "broker-no-way": Kind(
        "problem",
        ("there is no way to {host}: {why}", "không có đường tới {host}: {why}"),
        _REACHED,
        (
            "look at network cable, modem, SIM and route: ip route",
            "kiểm tra cáp mạng, modem, SIM và định tuyến: ip route",
        ),
    ),
    "broker-silent": Kind(
        "problem",
        ("{host} does not answer at port {port}", "{host} không trả lời ở cổng {port}"),
        _REACHED,
        (
            "does the network reach it (ping {host})? Does a firewall let port {port} through?",
            "mạng có tới được không (ping {host})? Tường lửa có cho qua cổng {port} không?",
        ),
    ),
    "broker-closed": Kind(
        "problem",
        ("{host} answers, but nothing listens at port {port}", "{host} có trả lời nhưng cổng {port} không mở"),
        _LET_IN,
        (
            "is the port right (8883 with TLS, 1883 without), and does the broker run? Ask the operations centre",
            "cổng có đúng không (8883 với TLS, 1883 không TLS), máy chủ có chạy không? Hỏi trung tâm điều hành",
        ),
    ),
    "broker-cert-expired": Kind(
        "problem",
        (
            "the broker's certificate has expired; the box's clock says {now}",
            "chứng thư của máy chủ đã hết hạn; đồng hồ thiết bị chỉ {now}",
        ),
        _VALID,
        _OPERATIONS,
    ),
    "broker-cert-not-yet": Kind(
        "problem",
        (
            "the broker's certificate is not valid yet; the box's clock says {now}",
            "chứng thư của máy chủ chưa có hiệu lực; đồng hồ thiết bị chỉ {now}",
        ),
        _VALID,
        (
            "set the box's clock right (timedatectl); if it is, tell the operations centre",
            "chỉnh đúng đồng hồ thiết bị (timedatectl); nếu đã đúng thì báo trung tâm điều hành",
        ),
    ),
    "broker-cert-name": Kind(
        "problem",
        (
            "the broker's certificate is for another name than {host}: {why}",
            "chứng thư của máy chủ mang tên khác {host}: {why}",
        ),
        ("a certificate for the host that is written in [[broker]]", "chứng thư cho đúng host ghi trong [[broker]]"),
        (
            "write the name that the certificate is for into host; if host is right, somebody else may be answering",
            "ghi vào host đúng tên trong chứng thư; nếu tên đã đúng thì có thể kẻ khác đang trả lời",
        ),
    ),
    "broker-cert-unknown": Kind(
        "problem",
        (
            "the broker's certificate is of an authority that this box does not trust: {why}",
            "chứng thư của máy chủ do tổ chức mà thiết bị không tin cậy cấp: {why}",
        ),
        ("a certificate of the authority in ca_file", "chứng thư của tổ chức trong ca_file"),
        (
            "is ca_file the city's own authority? If it is, somebody else may be answering: tell the operations centre",
            "ca_file có đúng là của thành phố không? Nếu đúng, có thể kẻ khác đang trả lời: báo trung tâm điều hành",
        ),
    ),
    "broker-cert-of-ours": Kind(
        "problem",
        (
            "the broker does not take this box's certificate: {why}",
            "máy chủ không chấp nhận chứng thư của thiết bị: {why}",
        ),
        _LET_IN,
        (
            "is there a certificate in [[broker]]? Was it revoked? Ask the operations centre to enrol this box anew",
            "trong [[broker]] có chứng thư không? Có bị thu hồi không? Đề nghị trung tâm cấp lại cho thiết bị",
        ),
    ),
    "broker-tls": Kind(
        "problem",
        ("no secure connection comes about: {why}", "không lập được kết nối an toàn: {why}"),
        ("TLS 1.2 or newer", "TLS 1.2 trở lên"),
        (
            "is the port one with TLS (8883)? Ask the operations centre",
            "cổng có dùng TLS không (8883)? Hỏi trung tâm điều hành",
        ),
    ),
    "broker-login": Kind(
        "problem",
        (
            "the broker refuses user, password or certificate: {why}",
            "máy chủ từ chối tên, mật khẩu hoặc chứng thư: {why}",
        ),
        _LET_IN,
        (
            "compare username and password_file in [uplink] with what the operations centre gave you",
            "so username và password_file trong [uplink] với thông tin trung tâm điều hành đã cấp",
        ),
    ),
    "broker-not-authorised": Kind(
        "problem",
        (
            "the broker lets this box in, but not to its topics: {why}",
            "máy chủ cho vào nhưng không cho dùng chủ đề của thiết bị: {why}",
        ),
        ("the right to gw/v1/{site}/{box}/…", "quyền với gw/v1/{site}/{box}/…"),
        (
            "site and id in [box] must be those the broker knows; ask the operations centre for its access list",
            "site và id trong [box] phải trùng với tên máy chủ biết; đề nghị trung tâm kiểm tra danh sách quyền",
        ),
    ),
    "broker-no-mqtt": Kind(
        "problem",
        (
            "what answers at {host}:{port} does not behave as an MQTT broker: {why}",
            "cái trả lời ở {host}:{port} không phải máy chủ MQTT: {why}",
        ),
        _LET_IN,
        (
            "are port and tls right? Closed without a word: often a certificate that it does not take",
            "port và tls có đúng không? Đóng không một lời: thường do chứng thư không được chấp nhận",
        ),
    ),
    "broker-other": Kind("problem", ("{why}", "{why}"), _LET_IN, _BUNDLE),
    # ---- what waits ----
    "outbox-folder": Kind(
        "problem",
        ("events cannot be stored: {why}", "không lưu được sự kiện: {why}"),
        ("a folder on a lasting disk that the service's user may write", "thư mục trên ổ đĩa mà dịch vụ được phép ghi"),
        (
            "make the folder and give it to the service's user: sudo chown gateway-agent {path}",
            "tạo thư mục và giao cho người dùng của dịch vụ: sudo chown gateway-agent {path}",
        ),
    ),
    "outbox-unreadable": Kind(
        "problem",
        ("{path} cannot be read: {why}", "không đọc được {path}: {why}"),
        ("a whole outbox", "hàng đợi nguyên vẹn"),
        (
            "restart the service: it sets a damaged file aside, saves what is in it and begins a new one",
            "khởi động lại dịch vụ: tệp hỏng được để riêng, cứu dữ liệu trong đó và tạo tệp mới",
        ),
    ),
    "outbox-full": Kind(
        "problem",
        (
            "{rows} messages wait, {percent} % of what there is room for; the oldest counts and readings go next",
            "{rows} bản tin đang chờ, chiếm {percent} % chỗ; số đếm và số đo cũ nhất sẽ bị bỏ trước",
        ),
        ("less than {wanted} %", "dưới {wanted} %"),
        (
            "mend the link to the broker (see above), or raise max_mb in [outbox]",
            "sửa kết nối tới máy chủ (xem trên), hoặc tăng max_mb trong [outbox]",
        ),
    ),
    "outbox-old": Kind(
        "problem",
        ("{rows} messages wait, the oldest for {hours} h", "{rows} bản tin đang chờ, cũ nhất {hours} giờ"),
        ("messages that leave within {wanted} h", "bản tin được gửi trong {wanted} giờ"),
        (
            "mend the link to the broker (see above); nothing is lost as long as there is room",
            "sửa kết nối tới máy chủ (xem trên); chưa mất gì khi còn chỗ",
        ),
    ),
    "outbox-refused": Kind(
        "problem",
        (
            "the broker will never take {rows} of our messages: {why}",
            "máy chủ không bao giờ nhận {rows} bản tin: {why}",
        ),
        ("a broker that takes all of them", "máy chủ nhận mọi bản tin"),
        (
            "gateway-agent outbox --aside shows them; the operations centre has to mend the box's rights or limits",
            "gateway-agent outbox --aside cho xem; trung tâm điều hành phải sửa quyền hoặc giới hạn của thiết bị",
        ),
    ),
    "evidence-folder": Kind(
        "problem",
        ("pictures of alerts cannot be stored: {why}", "không lưu được ảnh cảnh báo: {why}"),
        ("a folder that the service's user may write", "thư mục mà dịch vụ được phép ghi"),
        (
            "make the folder and give it to the service's user: sudo chown gateway-agent {path}",
            "tạo thư mục và giao cho người dùng của dịch vụ: sudo chown gateway-agent {path}",
        ),
    ),
    # ---- cameras ----
    "camera-name": Kind(
        "problem",
        ("the name {host} is not known", "không phân giải được tên {host}"),
        _REACHED,
        ("write the camera's IP address into source", "ghi địa chỉ IP của máy quay vào source"),
    ),
    "camera-no-way": Kind(
        "problem",
        ("there is no way to {host}: {why}", "không có đường tới {host}: {why}"),
        _REACHED,
        (
            "look at the cable between box and camera, and at the network mask: ip route",
            "kiểm tra cáp giữa thiết bị và máy quay, và mặt nạ mạng: ip route",
        ),
    ),
    "camera-silent": Kind(
        "problem",
        ("{host} does not answer", "{host} không trả lời"),
        _REACHED,
        _CABLE,
    ),
    "camera-closed": Kind(
        "problem",
        ("{host} answers, but nothing listens at port {port}", "{host} có trả lời nhưng cổng {port} không mở"),
        ("a camera that offers its stream there", "máy quay cho luồng hình ở cổng đó"),
        (
            "switch RTSP or HTTP on in the camera's settings, or correct the port in source",
            "bật RTSP hoặc HTTP trong cài đặt máy quay, hoặc sửa cổng trong source",
        ),
    ),
    "camera-login": Kind(
        "problem",
        (
            "the camera answers, but does not take user and password: {why}",
            "máy quay trả lời nhưng không chấp nhận tên và mật khẩu: {why}",
        ),
        ("the camera's user and password in credentials_file", "tên và mật khẩu của máy quay trong credentials_file"),
        (
            "correct the file; try the login in the camera's web page. Some lock out for minutes after wrong ones",
            "sửa tệp, thử đăng nhập trên trang web của máy quay; sai nhiều lần máy có thể khóa vài phút",
        ),
    ),
    "camera-refused": Kind(
        "problem",
        ("the camera answers and refuses: {why}", "máy quay trả lời và từ chối: {why}"),
        _PICTURES,
        (
            "correct source (the path is in the camera's manual), or the user's rights in the camera",
            "sửa source (đường dẫn có trong tài liệu máy quay), hoặc quyền của người dùng trong máy quay",
        ),
    ),
    "camera-no-picture": Kind(
        "problem",
        ("it opens, but gives no picture: {why}", "mở được nhưng không có hình: {why}"),
        _PICTURES,
        (
            "look at the camera's own page; restart the camera; is its codec H.264, H.265 or MJPEG?",
            "xem trang web của máy quay; khởi động lại máy quay; mã hóa có phải H.264, H.265 hay MJPEG không?",
        ),
    ),
    "camera-undecodable": Kind(
        "problem",
        (
            "something answers at {host}:{port}, but gives no stream that can be decoded: {why}",
            "{host}:{port} có trả lời nhưng không cho luồng giải mã được: {why}",
        ),
        ("H.264, H.265 or MJPEG", "H.264, H.265 hoặc MJPEG"),
        (
            "choose one of these codecs in the camera's settings; is it this camera's address?",
            "chọn một trong các kiểu mã hóa này trong cài đặt máy quay; địa chỉ có đúng máy quay này không?",
        ),
    ),
    "camera-bad": Kind("problem", ("{why}", "{why}"), _PICTURES, _CABLE),
    "camera-faults": Kind(
        "problem",
        ("it gives pictures, but something is wrong with them: {faults}", "có hình nhưng hình có lỗi: {faults}"),
        ("a clear picture of its scene", "hình rõ của nơi quan sát"),
        (
            'see "When a camera cannot see" in the handbook: clean, turn back or focus the camera',
            'xem "When a camera cannot see" trong tài liệu: lau, xoay lại hoặc chỉnh nét máy quay',
        ),
    ),
    # ---- sensors ----
    "sensor-silent": Kind(
        "problem",
        ("it does not answer: {why}", "cảm biến không trả lời: {why}"),
        _SENSOR,
        (
            "look at its supply and cable; the handbook lists the words behind the colon",
            "kiểm tra nguồn và cáp; tài liệu có danh sách các thông báo sau dấu hai chấm",
        ),
    ),
    "sensor-invalid": Kind(
        "problem",
        ("it answers with what cannot be true: {why}", "trả lời giá trị không thể đúng: {why}"),
        ("values that can be true", "giá trị có thể đúng"),
        (
            "cable, terminator, interference; or register, type, word_order, scale or valid are wrong",
            "cáp, điện trở cuối, nhiễu; hoặc register, type, word_order, scale, valid sai",
        ),
    ),
    "sensor-stuck": Kind(
        "problem",
        ("its value has not moved for too long: {why}", "giá trị không đổi quá lâu: {why}"),
        ("a value that lives", "giá trị có thay đổi"),
        ("clean the probe, switch the sensor off and on", "lau đầu đo, tắt và bật lại cảm biến"),
    ),
    "sensor-hangs": Kind(
        "problem",
        ("its driver has not come back for {seconds} s", "trình điều khiển không phản hồi trong {seconds} giây"),
        _SENSOR,
        ("unplug it and plug it in again", "rút ra và cắm lại"),
    ),
    "output-bad": Kind(
        "problem",
        ("it cannot be switched: {why}", "không điều khiển được: {why}"),
        ("an output that can be switched", "đầu ra điều khiển được"),
        ("the handbook lists the words behind the colon", "tài liệu có danh sách các thông báo sau dấu hai chấm"),
    ),
    "clock-unset": Kind(
        "problem",
        ("the clock is not set from the network; it says {date}", "đồng hồ chưa đồng bộ qua mạng; đang chỉ {date}"),
        ("a clock that a time server sets", "đồng hồ được máy chủ thời gian đặt"),
        (
            "allow NTP (UDP 123), or name a time server; see timedatectl. Events are corrected once it is set",
            "cho phép NTP (UDP 123), hoặc khai báo máy chủ thời gian; xem timedatectl. Giờ sự kiện sẽ được sửa sau",
        ),
    ),
    # ---- worth knowing ----
    "power-was-low": Kind(
        "note",
        (
            "the supply's voltage has been too low since the box was started",
            "điện áp nguồn đã có lúc quá thấp kể từ khi khởi động",
        ),
        ("a supply that holds its voltage under load", "nguồn giữ được điện áp khi có tải"),
        _SUPPLY,
    ),
    "board-was-slowed": Kind(
        "note",
        (
            "the processor has been slowed down since the box was started",
            "bộ xử lý đã có lúc bị giảm tốc kể từ khi khởi động",
        ),
        ("a processor at full speed", "bộ xử lý chạy hết tốc độ"),
        _COOL,
    ),
    "service-restarted": Kind(
        "note",
        (
            "the service was started again by itself {restarts} time(s); it has run for {minutes} min since",
            "dịch vụ đã tự khởi động lại {restarts} lần; chạy được {minutes} phút từ lần cuối",
        ),
        ("a service that keeps running", "dịch vụ chạy liên tục"),
        ("journalctl -u gateway-agent shows why", "journalctl -u gateway-agent cho biết lý do"),
    ),
    "broker-plain": Kind(
        "note",
        (
            "events and password go there unencrypted (tls = false)",
            "sự kiện và mật khẩu được gửi không mã hóa (tls = false)",
        ),
        ("TLS, but for tests on the desk", "TLS, trừ khi thử trên bàn"),
        ("set tls = true and ca_file", "đặt tls = true và ca_file"),
    ),
    "broker-cert-soon": Kind(
        "note",
        ("the broker's certificate expires in {days} day(s)", "chứng thư của máy chủ hết hạn sau {days} ngày"),
        ("a new one before that", "chứng thư mới trước ngày đó"),
        ("tell the operations centre", "báo trung tâm điều hành"),
    ),
    "broker-none": Kind(
        "note",
        (
            "there is none in the configuration: events stay on the box",
            "cấu hình không có: sự kiện chỉ ở trên thiết bị",
        ),
        ("a [[broker]]", "[[broker]]"),
        ("add a [[broker]]", "thêm [[broker]]"),
    ),
    "outbox-damaged": Kind(
        "note",
        ("{files} damaged file(s) of earlier are kept beside it", "còn giữ {files} tệp hỏng từ trước bên cạnh"),
        ("none", "không có"),
        (
            "a card that loses data? Replace it. The files may be deleted",
            "thẻ nhớ mất dữ liệu? Hãy thay. Có thể xóa các tệp này",
        ),
    ),
    "camera-busy": Kind(
        "note",
        ("in use by {who}, so it was not tried", "đang được {who} dùng nên không thử"),
        ("the service's own use of it", "chính dịch vụ đang dùng"),
        ("nothing, if that is the service", "không cần làm gì nếu đó là dịch vụ"),
    ),
    "sensor-busy": Kind(
        "note",
        ("the service has it, and has not said how it is", "dịch vụ đang dùng và chưa báo trạng thái"),
        ("what the service says of it", "trạng thái do dịch vụ báo"),
        ("look again in a minute", "xem lại sau một phút"),
    ),
    "camera-back": Kind(
        "note",
        (
            "the service had no picture of it, doctor has one now: {why}",
            "dịch vụ không có hình, nhưng doctor vừa lấy được: {why}",
        ),
        ("a camera that stays", "máy quay ổn định"),
        (
            "look again in a minute; if it comes and goes: cable, supply, network",
            "xem lại sau một phút; nếu lúc có lúc không: cáp, nguồn, mạng",
        ),
    ),
    "service-missing": Kind(
        "note",
        ("it is not installed here", "chưa được cài làm dịch vụ trên máy này"),
        ("gateway-agent.service of systemd", "gateway-agent.service của systemd"),
        ("install it, but for tests on the desk", "cài đặt, trừ khi thử trên bàn"),
    ),
    "doctor-blind": Kind(
        "note",
        ("this user may not look at: {what}", "người dùng này không được xem: {what}"),
        ("a user that may", "người dùng có quyền"),
        ("sudo gateway-agent doctor", "sudo gateway-agent doctor"),
    ),
}
