// How the log says things, apart from log.h, which every file includes.
#pragma once

namespace vesper::server {

// An object a line, from now on. Before StartLog().
void LogInJson();

}  // namespace vesper::server
