# moto 5.2 has neither a budget's subscribers nor its tags: looked at in modules/budget/tests instead.
resource "aws_budgets_budget" "this" {
  count = 0
}

output "name" {
  value = var.name
}
