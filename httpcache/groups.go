package httpcache

import (
	"slices"

	"github.com/dunglas/httpsfv"
)

// The fields of cache groups (RFC 9875), in canonical form.
const (
	cacheGroupsField            = "Cache-Groups"
	cacheGroupInvalidationField = "Cache-Group-Invalidation"
)

// Bounds of the groups of one field; what is beyond them is not kept. RFC 9875
// §2 wants at least 32 groups of at least 32 characters.
const (
	maxGroups     = 32
	maxGroupBytes = 256
)

// GroupInvalidations returns the cache groups whose stored responses, those of
// the origin of the target URI, the answer to a request makes invalid (RFC 9875
// §3), each once: after a 2xx or 3xx to a method that is not known to be safe;
// nil for none.
func GroupInvalidations(req *Request, resp Response) []string {
	if safeMethod(req.method) || resp.Status < 200 || resp.Status > 399 {
		return nil
	}
	return parseGroups(resp.Header[cacheGroupInvalidationField])
}

// parseGroups reads a List of Strings; nil for none, and where it is no list.
// Members of another type are passed over and the others count: a group too many
// costs a fetch, one too few serves what has changed.
func parseGroups(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	var groups []string
	for _, member := range list {
		item, isItem := member.(httpsfv.Item)
		if !isItem {
			continue
		}
		group, isString := item.Value.(string)
		if !isString || len(group) > maxGroupBytes || slices.Contains(groups, group) {
			continue
		}
		if groups = append(groups, group); len(groups) == maxGroups {
			break
		}
	}
	return groups
}
