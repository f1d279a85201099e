package line

import (
	"math"
	"strconv"
)

// Append appends one line of /api/v1/export with its line end. metric is a JSON object; timestamps (milliseconds since
// 1970) and values have the same length, and the values are finite.
func Append(dst []byte, metric string, timestamps []int64, values []float64) []byte {
	dst = append(dst, `{"metric":`...)
	dst = append(dst, metric...)
	dst = append(dst, `,"values":[`...)
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFloat(dst, v)
	}
	dst = append(dst, `],"timestamps":[`...)
	for i, ts := range timestamps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, ts, 10)
	}
	return append(dst, "]}\n"...)
}

// appendFloat writes the shortest text that reads back as the same float, with an exponent only where the plain digits
// would be long.
func appendFloat(dst []byte, v float64) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}
