"""What a technician reads of the suite, in English and in Vietnamese; the language is that of the terminal."""

from __future__ import annotations

from agent.ops.words import language

_SENTENCES: dict[str, tuple[str, str]] = {
    # What is tried, by the name of the check.
    "gives_pictures_as_granted_and_leaves_them_to_the_reader": (
        "gives pictures as it said it would",
        "cho hình đúng như đã báo",
    ),
    "may_be_opened_again_and_closed_twice": ("can be opened again and again", "mở lại được nhiều lần"),
    "says_that_it_is_not_open": ("says that it is not open", "báo đúng khi chưa mở"),
    "test_the_camera_gives_pictures": ("size, format and rate", "kích thước, định dạng và tốc độ hình"),
    "test_the_camera_is_unplugged": ("unplugged, and plugged in again", "rút ra rồi cắm lại"),
    "reads_what_is_there": ("answers with what can be true", "trả lời giá trị có thể đúng"),
    "reads_again_and_again": ("answers again and again", "trả lời được nhiều lần"),
    "must_be_open_to_be_read": ("says that it is not open", "báo đúng khi chưa mở"),
    "may_be_closed_at_any_time": ("can be closed at any time", "đóng được bất cứ lúc nào"),
    "names_itself_and_its_bus_before_it_is_open": ("knows its name and its bus", "biết tên và đường nối của mình"),
    "says_by_name_and_in_time_that_it_is_unplugged": ("unplugged, it says so", "báo khi bị rút ra"),
    "goes_on_when_it_is_plugged_in_again": ("plugged in again, it goes on", "cắm lại thì chạy tiếp"),
    "test_the_output": ("on for a moment, and off", "bật một lát rồi tắt"),
    "test_check": ("gateway-agent check finds no problem", "gateway-agent check không thấy lỗi"),
    "test_devices": (
        "gateway-agent devices lists what is connected",
        "gateway-agent devices liệt kê thiết bị đang nối",
    ),
    "test_every_device_is_well": ("the agent runs, every device is well", "chương trình chạy, mọi thiết bị đều tốt"),
    "test_what_happens_is_told": (
        "{event}: the alert is raised and cleared at the broker",
        "{event}: cảnh báo được gửi và được xoá ở máy chủ MQTT",
    ),
    "test_nothing_was_lost": ("nothing was lost, repeated or out of order", "không mất, không lặp, đúng thứ tự"),
    # The report.
    "title": ("Hardware in the loop: {site}/{box}", "Kiểm tra phần cứng: {site}/{box}"),
    "passed": ("Everything that was tried is fine.", "Mọi thứ đã thử đều tốt."),
    "failed": ("{n} problem(s) found.", "Có {n} lỗi."),
    "tried": (
        "{fine} fine, {problems} problem(s), {left} not tried, in {seconds:.0f} s",
        "{fine} tốt, {problems} lỗi, {left} chưa thử, trong {seconds:.0f} giây",
    ),
    "head": ("| device | tried | result | it answered |", "| thiết bị | đã thử | kết quả | trả lời |"),
    "fine": ("fine", "tốt"),
    "problem": ("**PROBLEM**", "**LỖI**"),
    "not-tried": ("not tried", "chưa thử"),
    "problems-head": ("What failed, and what to do", "Lỗi và cách xử lý"),
    "machine": ("Machine", "Máy"),
    "whole-box": ("whole box", "toàn bộ"),
    "outputs-off": (
        "sirens and lights are switched on only with [hil] outputs = true in the profile",
        "còi và đèn chỉ được bật khi hồ sơ có [hil] outputs = true",
    ),
    "to-developers": (
        "this is a fault of a driver, of the agent or of this suite: send report.json to its developers",
        "đây là lỗi của trình điều khiển, chương trình hoặc bộ kiểm tra: gửi report.json cho nhóm phát triển",
    ),
    "written": ("report: {path}", "báo cáo: {path}"),
    "ask": ("{what}, then press Enter:", "{what}, rồi nhấn Enter:"),
}


def say(key: str, **values: object) -> str:
    english, vietnamese = _SENTENCES[key]
    return (vietnamese if language() == "vi" else english).format(**values)
