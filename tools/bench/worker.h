// The process in which rows run: one for the local driver, one for the server, one more that counts. It does what its parent
// (measure.cpp) says, a line at a time, and answers each line with one.
//
//   open ROW      makes ready                      ok DEVICE
//   run BATCHES   runs as many                     seconds SECONDS
//   count         runs one, between two looks at   counts TRIPS WAITS SENT RECEIVED TRANSPORT
//                 what the client counted
//   close         forgets the row                  ok
//
// Instead of its answer there may be `failed WHY`; the row is forgotten then.
#pragma once

namespace vesper::tools::bench {

// Until standard input ends. The exit status.
int Serve();

}  // namespace vesper::tools::bench
