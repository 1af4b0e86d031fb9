//! `[account]`: what a machine draws and costs, for `danlu estimate`.

use super::table::table;

table! {
    /// `[account]`. It changes nothing that is trained.
    AccountConfig => AccountSettings {
        watts: f64, ANY,
            "power of the machine in watts, for `danlu estimate --run`; without it 700 with a GPU and 100 without one",
            "机器的功率（瓦），供 `danlu estimate --run`；不设则有显卡时 700，没有时 100";
        price: f64, ANY,
            "price of an hour of the machine; without it that of a rented one", "机器每小时的价格；不设则按租用的价格";
        currency: String, ANY, "sign of the price's currency; without it `$`", "价格的货币符号；不设则为 `$`";
    }
}
