package mongofeed_test

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/mongofeed"
)

type Order struct {
	ID   string `bson:"_id"`
	Paid bool   `bson:"paid"`
}

type Account struct {
	ID      string `bson:"_id"`
	Balance int64  `bson:"balance"`
}

var (
	client   *mongo.Client
	database *mongo.Database
	orders   *aside.Cache[string, Order]
	accounts *aside.Cache[string, Account]
)

// A duplicate key does not keep the key out of the cache.
func ExampleDefiniteError() {
	ctx := context.Background()
	accounts, err := aside.New(aside.Options[string, Account]{Name: "accounts", DefiniteError: mongofeed.DefiniteError})
	if err != nil {
		panic(err)
	}
	defer accounts.Close(ctx)
	err = accounts.Write(ctx, "ada", func(context.Context, *aside.WriteTx[string, Account]) error {
		return mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 11000, Message: "duplicate key"}}} // from InsertOne
	})
	fmt.Println(mongo.IsDuplicateKeyError(err))
	fmt.Println("unknown outcomes:", accounts.Stats().WritesUnknown)
	// Output:
	// true
	// unknown outcomes: 0
}

// One command that returns the record.
func ExampleDefiniteError_update() {
	deposit := func(ctx context.Context, id string, amount int64) (Account, error) {
		return accounts.Update(ctx, id, func(ctx context.Context) (a Account, err error) {
			err = database.Collection("accounts").FindOneAndUpdate(ctx,
				bson.M{"_id": id}, bson.M{"$inc": bson.M{"balance": amount}},
				options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&a)
			if errors.Is(err, mongo.ErrNoDocuments) {
				return a, aside.ErrNotFound
			}
			return a, err
		})
	}
	_ = deposit
}

// The client makes the ID, so it is known before.
func ExampleDefiniteError_newDocument() {
	add := func(ctx context.Context) (Order, error) {
		o := Order{ID: bson.NewObjectID().Hex()}
		return orders.Update(ctx, o.ID, func(ctx context.Context) (Order, error) {
			_, err := database.Collection("orders").InsertOne(ctx, o)
			return o, err
		})
	}
	_ = add
}

// Records of two caches in one transaction.
func ExampleDefiniteError_twoCaches() {
	pay := func(ctx context.Context, order, account string, amount int64) error {
		o, a := orders.Part(order), accounts.Part(account)
		return aside.WriteTogether(ctx, []aside.WritePart{o, a}, func(ctx context.Context) error {
			s, err := client.StartSession()
			if err != nil {
				return err
			}
			defer s.EndSession(context.WithoutCancel(ctx))
			var paid Order
			var charged Account
			after := options.FindOneAndUpdate().SetReturnDocument(options.After)
			_, err = s.WithTransaction(ctx, func(ctx context.Context) (any, error) { // may run more than once
				err := database.Collection("orders").FindOneAndUpdate(ctx,
					bson.M{"_id": order}, bson.M{"$set": bson.M{"paid": true}}, after).Decode(&paid)
				if err != nil {
					return nil, err
				}
				return nil, database.Collection("accounts").FindOneAndUpdate(ctx,
					bson.M{"_id": account}, bson.M{"$inc": bson.M{"balance": -amount}}, after).Decode(&charged)
			})
			if err != nil {
				return err
			}
			o.Publish(order, paid)
			a.Publish(account, charged)
			return nil
		})
	}
	_ = pay
}
