package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// querier is a database, a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// execer is a connection or a transaction, within a transaction.
type execer interface {
	querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// each calls f for every row of the answer to a query. Errors of SQLite carry their class.
func each(ctx context.Context, q querier, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return classify(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	for rows.Next() {
		if err := f(rows); err != nil {
			return rowFault(err)
		}
	}
	return classify(rows.Err())
}

// all returns what scan makes of each row of the answer.
func all[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) (found []T, err error) {
	if err := each(ctx, q, into(&found, scan), query, args...); err != nil {
		return nil, err
	}
	return found, nil
}

// into returns a function that appends what read makes of a row.
func into[R, T any](found *[]T, read func(R) (T, error)) func(R) error {
	return func(row R) error {
		v, err := read(row)
		*found = append(*found, v)
		return err
	}
}

// scanOne reads a row of one column.
func scanOne[T any](rows *sql.Rows) (v T, err error) {
	err = rows.Scan(&v)
	return v, err
}

// exec runs a statement and returns how many rows it changed.
func exec(ctx context.Context, tx execer, query string, args ...any) (n int64, err error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// eachOfMany is each for answers of many rows, straight from the driver: what database/sql does for
// a row takes as long as SQLite does. row is valid during the call only. args are int64 or string.
func eachOfMany(ctx context.Context, db *sql.DB, f func(row []driver.Value) error, query string, args ...any) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return classify(err)
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool
	return eachRaw(ctx, conn, f, query, args...)
}

// eachRaw is eachOfMany on a connection.
func eachRaw(ctx context.Context, conn *sql.Conn, f func(row []driver.Value) error, query string, args ...any) error {
	named := make([]driver.NamedValue, len(args))
	for i, v := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return conn.Raw(func(c any) error {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, query, named)
		if err != nil {
			return classify(err)
		}
		defer rows.Close() //nolint:errcheck // Next below has it
		row := make([]driver.Value, len(rows.Columns()))
		for err = rows.Next(row); err == nil; err = rows.Next(row) {
			if err = ctx.Err(); err == nil {
				err = f(row)
			}
			if err != nil {
				return rowFault(err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return classify(err)
	})
}

// many is all for answers of many rows.
func many[T any](ctx context.Context, db *sql.DB, read func(row []driver.Value) (T, error), query string, args ...any) (found []T, err error) {
	if err := eachOfMany(ctx, db, into(&found, read), query, args...); err != nil {
		return nil, err
	}
	return found, nil
}

// column is a value of a row of many.
func column[T int64 | float64](v driver.Value) (T, error) {
	n, ok := v.(T)
	if !ok {
		return n, fmt.Errorf("a column has %T, not %T", v, n)
	}
	return n, nil
}
