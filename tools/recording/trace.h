// A recording for people: every call in a line, or a trace for Chrome's and Perfetto's viewers.
#pragma once

#include <cstdio>
#include <string>

namespace vesper::tools::recording {

// Prints a line for each command, control, reply and event; with `match` (a shell pattern) those of commands with such names.
// False with a sentence in `error`.
bool PrintCalls(const std::string& file, const std::string& match, std::FILE* out, std::string* error);

// Writes the trace event format: what waited for an answer and how long, submits from when they were sent to when the client knew
// that they had completed, frames, bytes of memory each way.
bool WriteTraceEvents(const std::string& file, std::FILE* out, std::string* error);

}  // namespace vesper::tools::recording
