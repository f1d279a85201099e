package store

import (
	"context"
	"database/sql"
)

// querier is a database, a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
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
			return classify(err)
		}
	}
	return classify(rows.Err())
}

// all returns what scan makes of each row of the answer.
func all[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) (found []T, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		v, err := scan(rows)
		found = append(found, v)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return found, nil
}

// scanOne reads a row of one column.
func scanOne[T any](rows *sql.Rows) (v T, err error) {
	err = rows.Scan(&v)
	return v, err
}

// exec runs a statement and returns how many rows it changed.
func exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (n int64, err error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
