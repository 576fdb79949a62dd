// Package edge is the life of one HTTP request: which site it is for, what the
// store holds for it, what the law says may be done with that, and the answer.
//
// It decides nothing about caching itself (httpcache does), keeps no bytes
// (cachestore does), knows no upstream (origin does) and opens no socket
// (edge/listener does). Calls go down; nothing calls back up. One [Record] leaves
// each request, and from it come the access log and the metrics.
//
// Start reading at [Handler.ServeHTTP]; docs/life-of-a-request.md follows it step
// by step.
package edge
