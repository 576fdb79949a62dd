package config

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
)

// dump writes a typed result as one line for each value, in the words of the types.
func dump(v any) string {
	var b strings.Builder
	dumpValue(&b, "", reflect.ValueOf(v))
	return b.String()
}

func dumpValue(b *strings.Builder, path string, v reflect.Value) {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		fmt.Fprintf(b, "%s: none\n", path)
		return
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		fmt.Fprintf(b, "%s: %s\n", path, s)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		dumpValue(b, path, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			dumpValue(b, join(path, v.Type().Field(i).Name), v.Field(i))
		}
	case reflect.Slice:
		fmt.Fprintf(b, "%s: %d items\n", path, v.Len())
		for i := range v.Len() {
			dumpValue(b, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Map:
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return fmt.Sprint(keys[i]) < fmt.Sprint(keys[j]) })
		fmt.Fprintf(b, "%s: %d keys\n", path, len(keys))
		for _, k := range keys {
			dumpValue(b, fmt.Sprintf("%s[%v]", path, k), v.MapIndex(k))
		}
	case reflect.String:
		fmt.Fprintf(b, "%s: %q\n", path, v.String())
	default:
		fmt.Fprintf(b, "%s: %v\n", path, v.Interface())
	}
}
