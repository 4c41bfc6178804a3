data "aws_region" "current" {}

locals {
  # Three blocks out of the network, by size of need: pods take an address each, load balancers and databases a few.
  # Of a /16: private x.x.0.0/20, .16, .32; public x.x.240-242.0/24; data x.x.250-252.0/24.
  private_cidrs = { for i, zone in var.zones : zone => cidrsubnet(var.cidr, 4, i) }
  public_cidrs  = { for i, zone in var.zones : zone => cidrsubnet(var.cidr, 8, 240 + i) }
  data_cidrs    = { for i, zone in var.zones : zone => cidrsubnet(var.cidr, 8, 250 + i) }

  # One gateway is cheaper, and its zone takes the way out of the other two with it.
  nat_zones = toset(var.nat_per_zone ? var.zones : slice(var.zones, 0, 1))
  nat_of    = { for zone in var.zones : zone => var.nat_per_zone ? zone : var.zones[0] }
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true # private endpoints are found by name
  enable_dns_support   = true

  tags = { Name = var.name }
}

# Every VPC has this group, and whatever names none falls into it: without rules it lets nothing through.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-default-closed" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each = local.public_cidrs

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-public-${each.key}", "kubernetes.io/role/elb" = "1" }
}

resource "aws_subnet" "private" {
  for_each = local.private_cidrs

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-private-${each.key}", "kubernetes.io/role/internal-elb" = "1" }
}

resource "aws_subnet" "data" {
  for_each = local.data_cidrs

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-data-${each.key}" }
}

resource "aws_eip" "nat" {
  for_each = local.nat_zones

  domain     = "vpc"
  depends_on = [aws_internet_gateway.this]

  tags = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_nat_gateway" "this" {
  for_each = local.nat_zones

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${var.name}-${each.key}" }
}
