# What travels between a Vesper client and a Vesper server, one Message after the other in Cap'n Proto's stream framing.
# Commands, replies and events are dense bytes of their own format inside (docs/wire.md); runtime/transport/frame.cpp writes
# Batch, Reply and Event by hand in the layout that this schema gives them, and a test reads them with Cap'n Proto.
# Fields are only ever added: an end that does not know one ignores it. This is protocol version 2 (runtime/handshake.h).
@0xe2aff7066ebb8ddf;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("vesper::transport::schema");

struct Message {
  union {  # numbered as vesper::MessageKind
    hello @0 :Hello;
    welcome @1 :Welcome;
    refused @2 :Refused;
    batch @3 :Batch;
    reply @4 :Reply;
    event @5 :Event;
    goodbye @6 :Goodbye;
    waiting @7 :Waiting;
    received @10 :Received;
  }
  packing @8 :UInt8;            # how the data of a batch, reply or event were packed, 0: not; see docs/wire.md
  unpacked @9 :UInt32;          # how many bytes they were before
}

struct Hello {  # client to server, first
  protocol @0 :UInt32;
  pageSize @1 :UInt32;
  fingerprint @2 :UInt64;       # of the registry that the client was generated from
  pid @3 :UInt32;
  program @4 :Text;             # for the server's log
  commands @5 :List(Text);      # names by command id, only when asked for
  handleTypes @6 :List(Text);   # names by handle type, only when asked for
  validation @7 :Bool;          # messages of the server's validation layer are wanted
  sharesMemory @8 :Bool;        # replies may bring file descriptors of memory
  ring @9 :Bool;                # messages may travel through shared memory
  compression @10 :UInt8;       # 0: none; 1: it takes packed messages, and wants them where that pays; 2: always
  resumes @11 :Bool;            # should the connection break, it comes again
  resume @12 :UInt64;           # the session that goes on over this connection, else 0
  secret @13 :Data;             # of that session
  received @14 :UInt64;         # bytes that have come since its Welcome
}

struct Welcome {  # server to client
  protocol @0 :UInt32;
  namesWanted @1 :Bool;         # say Hello again, with the names
  fingerprint @2 :UInt64;
  session @3 :UInt64;
  commands @4 :List(Text);      # what the server decodes, when the fingerprints differ
  handleTypes @5 :List(Text);
  validation @6 :Bool;          # the server runs the validation layer
  maxObjects @7 :UInt32;        # that may live at the same time; 0: not said
  sharesMemory @8 :Bool;        # allocations may be shared memory
  ring @9 :Bool;                # an Event with the memory comes next; see docs/wire.md
  answersMarks @10 :Bool;       # the server says how far it has come
  compression @11 :Bool;        # both may send packed messages
  resumeFor @12 :UInt32;        # milliseconds that a broken connection is waited for; 0: it is not
  secret @13 :Data;             # to be shown then
  received @14 :UInt64;         # of a session that goes on: bytes that have come since its first Welcome
}

struct Refused {  # server to client, last
  reason @0 :Text;
}

struct Batch {  # client to server
  sequence @0 :UInt64;          # of the first record that wants a reply, or 0
  data @1 :Data;                # command records
  descriptors @2 :UInt8;        # how many file descriptors came with the first byte of this message
}

struct Reply {  # server to client
  sequence @0 :UInt64;          # of the command answered
  data @1 :Data;                # ReplyHeader and the encoded reply
  descriptors @2 :UInt8;
}

struct Event {  # server to client
  sequence @0 :UInt64;
  data @1 :Data;                # event records
  descriptors @2 :UInt8;
}

struct Received {  # either way, where sessions are resumed; laid out as the three above
  sequence @0 :UInt64;          # bytes that have come since the Welcome
  data @1 :Data;                # none
  descriptors @2 :UInt8;        # none
}

struct Goodbye {  # either way, last
  reason @0 :Text;
}

struct Waiting {  # server to client, before Welcome or Refused, again and again
  reason @0 :Text;
}
