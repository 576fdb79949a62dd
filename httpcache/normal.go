package httpcache

// Bounds of the selecting fields that a Request keeps in normal form: those for
// which it has room without allocating, and those beyond them.
const (
	fewNormals  = 4
	moreNormals = maxVary
)

// normalField is a selecting field of a request in the form in which it is
// compared.
type normalField struct {
	key   string // canonical
	value string
	// language is what firstChoice says of the value of Accept-Language.
	language string
}

// normalFields are the selecting fields that were compared so far, each
// normalised once however many variants it is compared with.
type normalFields struct {
	few   [fewNormals]normalField
	count int // of few
	more  []normalField
}

func (n *normalFields) find(key string) *normalField {
	for i := range n.few[:n.count] {
		if n.few[i].key == key {
			return &n.few[i]
		}
	}
	for i := range n.more {
		if n.more[i].key == key {
			return &n.more[i]
		}
	}
	return nil
}

// add keeps the field if there is room.
func (n *normalFields) add(field normalField) {
	switch {
	case n.count < fewNormals:
		n.few[n.count] = field
		n.count++
	case len(n.more) < moreNormals:
		n.more = append(n.more, field)
	}
}

// Hide makes fields count as absent wherever the request is compared with what a
// response was stored for: those that the origin never gets, and whose values
// therefore cannot select. dropped is called with canonical names, and only where
// a response varies; nil hides nothing. What Select chose before is forgotten, and
// Reset takes Hide back.
func (q *Request) Hide(dropped func(name string) bool) {
	q.hidden = dropped
	q.normals, q.selected = normalFields{}, nil
}

// selectingLines returns the lines of a field as far as they can select.
func (q *Request) selectingLines(key string) []string {
	if q.hidden != nil && q.hidden(key) {
		return nil
	}
	return q.values(key)
}

// normal returns a selecting field in normal form.
func (q *Request) normal(key string) normalField {
	if known := q.normals.find(key); known != nil {
		return *known
	}
	return q.normalise(key, q.selectingLines(key))
}

func (q *Request) normalise(key string, lines []string) normalField {
	field := normalField{key: key, value: normalValue(key, lines)}
	if key == acceptLanguageField {
		field.language = firstChoice(field.value)
	}
	q.normals.add(field)
	return field
}
