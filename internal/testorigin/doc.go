// Package testorigin is a scripted origin server for tests: it answers as it is
// told, breaks as it is told, and counts what it was asked.
//
// It is for tests alone and knows no caching: what it says about freshness is what
// the script says. Its bodies are pseudo-random, made of a seed and never held
// whole, and can be checked by [Sum] or compared with [Body].
//
// # In Go
//
//	o := testorigin.Start(t)                       // 127.0.0.1, a free port; ends with the test
//	o.Script("/page", testorigin.Answer{Fields: []string{"ETag: \"v1\""}, Size: 1 << 20})
//	release := o.Hold("/page")                     // answers wait until release()
//	...
//	o.Hits("/page"); o.Total(); o.Requests()
//
// [Origin] is an http.Handler, so it serves over memnet too: New, then Serve(listener).
// Start over: [Origin.Reset].
//
// # By URL
//
// A path without a script is answered from its query, so that a story needs no
// set-up:
//
//	/size/N            N bytes
//	/text/anything     the path itself as text
//	/echo              the request as the origin saw it: request line, Host, sorted fields, blank line, body
//	/sum               of the request's body: SHA-256 in hex, size, error (<nil>)
//	/upgrade           101 to the protocol asked for, then echoes bytes until EOF
//	anything else      404, as text, unless the query says otherwise
//
// with these parameters on any of them (and on unknown paths, which are then 200):
//
//	status=404         status
//	cc=max-age%3D60    Cache-Control            etag=v1     ETag, quoted unless it has quotes or W/
//	vary=A,B           Vary                     lm=D        Last-Modified: an HTTP date, or seconds since 1970
//	expires=D          Expires: likewise        date=D      Date: likewise; date=- sends none
//	age=N              Age                      type=T      Content-Type
//	h=Name:Value       any field, repeatable    location=U  Location
//	body=TEXT          the body itself          size=N      size of the pseudo-random body
//	seed=S             of the body; default: made of path and etag
//	delay=300ms        before the head          gap=100ms   between chunks
//	chunk=N            bytes per chunk          rate=N      bytes per second
//	chunked=1          no Content-Length        ranges=0    no answer to Range
//	abort=N            hang up after N bytes of the body; abort=head: before the head
//	reset=1            hanging up is a reset    close=1     Connection: close
//	early=1            103 Early Hints at once, before the delay, with Link: </style.css>; rel=preload; as=style
//	link=VALUE         that Link, repeatable    interim=102 another 1xx at once, repeatable, ahead of early=1
//	length=N           a Content-Length that is not true
//	conditional=0      no 304                   only206=1   206 to every GET, with the first half of the body
//	part=N             not half, but N bytes    digest=good Repr-Digest of the body by SHA-256; digest=bad: of another
//
// Conditional requests (If-None-Match, If-Modified-Since) are answered with 304 where
// the answer has a validator, single ranges with 206 or 416, If-Range included.
//
// Paths that begin with /_ steer it, by GET or POST, and are neither counted nor
// recorded:
//
//	/_hits             requests in all          /_hits?path=/x    those for the path /x
//	/_hits?uri=/x?y    those for path and query, as sent
//	/_304              answers 304 in all       /_304?path=/x     those for /x
//	/_max              the most requests that were in hand at once
//	/_requests         the last requests as /echo shows them, blank line between; ?path=/x, ?n=1 for the last only
//	/_set/x?status=…   scripts the path /x by the parameters above; /_unset/x takes it back
//	/_hold?path=/x     holds answers for /x;   /_release?path=/x  lets them go
//	/_waiting?path=/x  how many are held
//	/_reset            counters, records, scripts, holds: everything as at the start
package testorigin
