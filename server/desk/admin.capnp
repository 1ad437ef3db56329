# How whoever runs a server looks into it and steers it: Cap'n Proto RPC on a Unix socket of its own, for its owner alone.
# `vesper ps`, `top`, `kill`, `drain` and `reload` speak it. Fields are only ever added.
@0xb7d2c05a6f3e9814;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("vesper::admin::schema");

interface Admin {
  look @0 () -> (server :Server);
  end @1 (session :UInt64) -> (found :Bool);
  drain @2 () -> ();                             # no new sessions; the server ends with the last one
  reload @3 () -> (tokens :UInt32, error :Text); # the file of tokens is read again; error: it stays as it was
}

struct Server {
  sessions @0 :List(Session);
  waiting @1 :UInt32;            # clients that wait for a worker
  served @2 :UInt64;             # sessions since the start, with those of now
  refused @3 :UInt64;            # peers turned away
  faults @4 :UInt64;             # workers that ended otherwise than they should
  draining @5 :Bool;
  seconds @6 :Float64;           # since the start
  ended @7 :Counters;            # of sessions that are over, together
}

struct Counters {
  bytesIn @0 :UInt64;
  bytesOut @1 :UInt64;
  messages @2 :UInt64;
  commands @3 :UInt64;
  replies @4 :UInt64;            # that a client waited for
  gpuNanoseconds @5 :UInt64;
  unpackedIn @6 :UInt64;         # bytesIn and bytesOut as they would be without compression
  unpackedOut @7 :UInt64;
  memoryIn @8 :UInt64;           # of mapped memory: written by clients, by the GPU, compared for the latter
  memoryOut @9 :UInt64;
  memoryCompared @10 :UInt64;
  resumptions @11 :UInt64;       # how often sessions went on over another connection
}

struct Session {
  number @0 :UInt64;
  who @1 :Text;                  # the token's name; empty: nobody asked
  program @2 :Text;
  worker @3 :Int32;
  device @4 :Bool;
  seconds @5 :Float64;
  memory @6 :UInt64;             # bytes that its worker holds
  counters @7 :Counters;
  broken @8 :Float64;            # seconds since when its connection is broken and its client is waited for; 0: it is not
}
